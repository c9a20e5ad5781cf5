"""The candidates of every protocol, written out: who competes, with which settings, in which order."""

from types import SimpleNamespace

import pytest

from adversaries.entries import DEFAULT_ORDER, FLOOR_ORDER, GOALS, Entry, entries
from adversaries.registries import ADVERSARIES
from protocols.attribute.study import attribute_ladder
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import collect, floor_guessers
from protocols.evaluation.protocol import PROTOCOLS
from protocols.evasion.plan import Plan
from protocols.inversion.study import rebuilders
from protocols.linkage.study import matchers
from protocols.mask_aware.study import agnostic, aware
from protocols.task_label.candidates import frozen, ladder
from vfc.cards import Card
from vfc.errors import UserError

MODELS = ("a", "twin", "b")

FROZEN = """
frozen model=a
frozen-picture model=a form=clip
frozen-picture model=a form=rescale
frozen model=twin (apart)
frozen-picture model=twin form=clip (apart)
frozen-picture model=twin form=rescale (apart)
frozen model=b
frozen-picture model=b form=clip
frozen-picture model=b form=rescale
"""
LADDER = """
frozen model=a
frozen-picture model=a form=clip
frozen-picture model=a form=rescale
frozen model=twin (apart)
frozen-picture model=twin form=clip (apart)
frozen-picture model=twin form=rescale (apart)
frozen model=b
frozen-picture model=b form=clip
frozen-picture model=b form=rescale
batchnorm model=a
entropy model=a
shot model=a
moments model=a match=moments
moments model=a match=histogram
batchnorm model=b
entropy model=b
shot model=b
moments model=b match=moments
moments model=b match=histogram
matched-bits key=dataset
matched-bits key=release
linear
scaled-linear
knn
row-views
spreading
mlp
cnn
bag
deep-set
bit-planes
integer-codes
norms
signs
second-order
modular
popcounts
trees
products
residues
ranks
signed-planes
fine-tune model=a scope=head
fine-tune model=a scope=all
spreading-features model=a
adapter model=a
matched-features model=a key=dataset
matched-features model=a key=release
fine-tune model=b scope=head
fine-tune model=b scope=all
spreading-features model=b
adapter model=b
matched-features model=b key=dataset
matched-features model=b key=release
replay-training model=a
replay-training model=b
batchnorm model=twin (apart)
fine-tune model=twin scope=all (apart)
majority
"""
ATTRIBUTE = """
frozen model=a
frozen-picture model=a form=clip
frozen-picture model=a form=rescale
frozen model=b
frozen-picture model=b form=clip
frozen-picture model=b form=rescale
batchnorm model=a
entropy model=a
shot model=a
moments model=a match=moments
moments model=a match=histogram
batchnorm model=b
entropy model=b
shot model=b
moments model=b match=moments
moments model=b match=histogram
matched-bits key=dataset
matched-bits key=release
linear
scaled-linear
knn
row-views
spreading
mlp
cnn
bag
deep-set
bit-planes
integer-codes
norms
signs
second-order
modular
popcounts
trees
products
residues
ranks
signed-planes
fine-tune model=a scope=head
fine-tune model=a scope=all
spreading-features model=a
adapter model=a
matched-features model=a key=dataset
matched-features model=a key=release
fine-tune model=b scope=head
fine-tune model=b scope=all
spreading-features model=b
adapter model=b
matched-features model=b key=dataset
matched-features model=b key=release
with-prediction probe=linear
with-prediction probe=mlp
decensor model=a
replay-training model=a
decensor model=b
replay-training model=b
table
"""
REBUILDERS = """
ridge-decoder form=linear
ridge-decoder form=kernel
known-bits
noise-projection
decoder form=vector
decoder form=image
inverse-network
averaging
replay-decoder form=vector
replay-decoder form=image
own-inverse
gradient-inversion space=components
gradient-inversion space=pixels
rmle
deep-prior
mean-image aim=mean by_prediction=True
mean-image aim=mean by_prediction=False
mean-image aim=psnr by_prediction=True
mean-image aim=ssim by_prediction=True
"""
REBUILDERS_AT_SMOKE = """
ridge-decoder form=linear
ridge-decoder form=kernel
known-bits
noise-projection
decoder form=image
averaging
own-inverse
gradient-inversion space=components
mean-image aim=mean by_prediction=True
mean-image aim=mean by_prediction=False
mean-image aim=psnr by_prediction=True
mean-image aim=ssim by_prediction=True
"""
MATCHERS_OF_IMAGES = """
matcher form=decode
matcher form=encode
replay
"""
MATCHERS_OF_RELEASES = """
matcher form=decode
matcher form=encode
matcher form=raw
"""
MEMBERSHIP = """
loss-threshold
lira signal=confidence
lira signal=kl
lira signal=change
lira signal=norm
rmia
bavaria signal=confidence
shadow-classifier
shadow-reader reader=products
shadow-reader reader=residues
shadow-reader reader=row-views
"""
AWARE = """
mask-latent recovery=learned probe=linear
mask-latent recovery=learned probe=mlp options={'steps': 3}
mask-latent recovery=optimized probe=mlp options={'steps': 3}
mask-replay model=a
mask-replay model=b
"""
AGNOSTIC = """
linear
mlp
cnn
fine-tune model=a scope=all
fine-tune model=b scope=all
"""
EVASION_SMOKE = """
pgd | steps=10
pgd gradient=straight-through | steps=10 | rescue
pgd gradient=target | steps=10 | rescue
apgd objective=ce | steps=10
carlini-wagner | steps=30 searches=2
deepfool | steps=8
square | queries=50
boundary | steps=100
"""
EVASION_STANDARD = """
pgd | steps=20
pgd gradient=straight-through | steps=20
pgd gradient=target | steps=20
apgd objective=ce | steps=20
apgd objective=dlr | steps=20
carlini-wagner | steps=60 searches=3
deepfool | steps=15
square | queries=200
boundary | steps=300
hop-skip-jump | steps=3 evaluations=30
"""
EVASION_FULL = """
pgd | steps=100 restarts=5
pgd gradient=straight-through | steps=100
pgd gradient=target | steps=100
pgd library=foolbox | steps=100
apgd objective=ce | steps=100
apgd objective=dlr | steps=100
apgd objective=targeted | steps=50
carlini-wagner | steps=500 searches=6
deepfool | steps=50
square | queries=5000
boundary | steps=5000
hop-skip-jump | steps=20 evaluations=100
"""


def word(value):
    return value if isinstance(value, str) else repr(value)


def lines(candidates):
    """One line each: the adversary, its settings in their order, and whether it is reported apart."""
    return [
        " ".join(
            [each.adversary, *(f"{k}={word(v)}" for k, v in each.settings.items()), *["(apart)"] * (not each.headline)]
        )
        for each in candidates
    ]


def written(text, *, without=()):
    return [line for line in text.strip().splitlines() if line not in without]


def of(name, models=MODELS, twin="twin"):
    return lines(PROTOCOLS.get(name)().candidates(models, twin))


def test_the_task_label():
    assert lines(frozen(MODELS, "twin")) == of("transfer") == written(FROZEN)
    assert lines(ladder(MODELS, "twin")) == of("adaptive-probe") == written(LADDER)
    plain = [line for line in written(LADDER) if "model=" not in line]
    assert lines(ladder((), None)) == plain
    assert lines(frozen((), None)) == []


def test_attributes():
    for budget in ("standard", "full"):
        assert lines(attribute_ladder(MODELS, "twin", budget)) == of("attribute") == written(ATTRIBUTE)
    slow = ("entropy model=b", "fine-tune model=b scope=head", "fine-tune model=b scope=all", "adapter model=b")
    assert lines(attribute_ladder(MODELS, "twin", "smoke")) == written(ATTRIBUTE, without=slow)
    plain = [line for line in written(ATTRIBUTE) if "model=" not in line]
    assert lines(attribute_ladder((), None, "smoke")) == plain


def test_reconstruction():
    for planar in (True, False):
        assert lines(rebuilders("full", planar=planar)) == of("inversion") == written(REBUILDERS)
        standard = written(REBUILDERS, without=("inverse-network", "rmle"))
        assert lines(rebuilders("standard", planar=planar)) == standard
    assert lines(rebuilders("smoke")) == written(REBUILDERS_AT_SMOKE)
    flat = written(REBUILDERS_AT_SMOKE.replace("decoder form=image", "decoder form=vector"))
    assert lines(rebuilders("smoke", planar=False)) == flat


def test_matching():
    assert lines(matchers("image")) == written(MATCHERS_OF_IMAGES)
    assert lines(matchers("release")) == lines(matchers()) == written(MATCHERS_OF_RELEASES)
    assert of("linkage") == [*written(MATCHERS_OF_RELEASES), "replay"]


def test_membership():
    assert of("membership") == written(MEMBERSHIP)


def test_the_mask():
    assert lines(aware(MODELS, "twin", {"mlp": {"steps": 3}})) == written(AWARE)
    assert of("mask-aware") == written(AWARE.replace(" options={'steps': 3}", ""))
    assert lines(aware(MODELS, "twin", {"linear": {}})) == of("mask-aware")
    assert lines(agnostic(MODELS, "twin")) == written(AGNOSTIC)


@pytest.mark.parametrize(
    ("budget", "text"), [("smoke", EVASION_SMOKE), ("standard", EVASION_STANDARD), ("full", EVASION_FULL)]
)
def test_evasion(budget, text):
    found = [
        " | ".join(
            [
                *lines([each.candidate]),
                " ".join(f"{name}={value}" for name, value in each.options.items()),
                *["rescue"] * each.rescue,
            ]
        )
        for each in Plan.of(Settings(budget=budget)).contenders
    ]
    assert found == written(text)


def test_all_of_evasion_is_listed_whatever_the_budget():
    assert of("evasion") == [line.partition(" | ")[0] for line in written(EVASION_FULL)]


def test_every_adversary_has_a_goal_but_those_that_a_protocol_makes_itself():
    without = [card.name for card in ADVERSARIES.cards.values() if not Entry.of(card).goals]
    assert without == ["input-transform"]


def test_of_one_goal_no_two_have_the_same_order():
    for goal in GOALS:
        orders = [each.order for each in entries(goal)]
        assert len(set(orders)) == len(orders)
        assert DEFAULT_ORDER not in orders


@pytest.fixture
def more(monkeypatch):
    """Adds adversaries to what is registered: name, level, whether for each model, and facts."""

    def add(name, level, per_model, **facts):
        card = Card(name=name, module="theirs", summary="", text="", facts=facts)
        monkeypatch.setitem(ADVERSARIES.cards, name, card)
        monkeypatch.setitem(ADVERSARIES._entries, name, SimpleNamespace(level=level, per_model=per_model))

    return add


def test_a_third_party_comes_after_ours_and_before_the_floor(more):
    more("aaa", "L2", False, goals=("task",))
    more("aab", "L1", True, goals=("task",), variants=({}, {"depth": 2}))
    found = lines(ladder(MODELS, "twin"))
    theirs = ["aaa", "aab model=a", "aab model=a depth=2", "aab model=b", "aab model=b depth=2"]
    assert [line for line in found if line not in theirs] == written(LADDER)
    assert [line for line in found if line in theirs] == theirs
    assert found.index("aaa") == found.index("replay-training model=b") + 1
    assert found[-1] == "majority"
    assert lines(frozen(MODELS, "twin")) == written(FROZEN)
    assert lines(collect("attribute")) == lines(attribute_ladder((), None)[:-1])


def test_an_adversary_that_sees_no_releases_starts_from_the_near_twin_too(more):
    more("aaa", "L0", True, goals=("task",))
    assert lines(frozen(MODELS, "twin"))[-3:] == ["aaa model=a", "aaa model=twin (apart)", "aaa model=b"]


def test_a_guesser_of_the_floor_comes_last(more):
    more("zzz", "L0", False, goals=("task",), order=FLOOR_ORDER + 1)
    assert lines(ladder(MODELS, "twin"))[-2:] == ["majority", "zzz"]
    assert lines(floor_guessers("task")) == ["majority", "zzz"]
    assert "zzz" not in lines(collect("task"))


def test_an_attack_that_the_table_of_budgets_lacks_runs_as_it_is(more, monkeypatch):
    more("mine", "L4", False, goals=("evasion",))
    for budget in ("smoke", "standard", "full"):
        last = Plan.of(Settings(budget=budget)).contenders[-1]
        assert (last.candidate.adversary, dict(last.options), last.rescue) == ("mine", {}, False)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"goals": "task"}, ["tuple of texts as goals", "'task'", "theirs"]),
        ({"goals": ("tsak",)}, ["unknown goal of adversary 'mine' 'tsak'", "did you mean 'task'"]),
        ({"goals": ("task",), "variants": ()}, ["variants", "at least one"]),
        ({"goals": ("task",), "variants": ("deep",)}, ["tuple of dictionaries"]),
        ({"goals": ("task",), "order": "last"}, ["whole number as order", "'last'"]),
    ],
)
def test_facts_of_another_type_are_refused(more, facts, words):
    more("mine", "L2", False, **facts)
    with pytest.raises(UserError) as caught:
        entries("task")
    assert all(each in str(caught.value) for each in words)
