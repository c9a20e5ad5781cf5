"""Attacks that are told the target's prediction, skewed attributes, and de-censoring.

Axes: n images of 1 x 8 x 8; task y of three classes, attribute a.
"""

import dataclasses
from functools import cache

import pytest
import torch
from scipy import stats
from torch import nn

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import Attribute, TaskLabel
from adversaries.knowledge import Knowledge
from adversaries.threat import ThreatModel
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.seeding import seeded
from vfc.training import TrainSettings, train_classifier

SIZES = (360, 60, 400)
GOAL = Attribute(label="a")


def generator(seed):
    return torch.Generator().manual_seed(seed)


def build(release, a, y, prediction, images=None, models=None, classes=2):
    images = torch.zeros(len(a), 1, 8, 8) if images is None else images
    told = [None] * 3 if prediction is None else prediction.split(SIZES)
    pieces = zip(images.split(SIZES), release.split(SIZES), a.split(SIZES), y.split(SIZES), told, strict=True)
    parts = [Part(images=x, release=r, labels={"a": s, "y": t}, prediction=p) for x, r, s, t, p in pieces]
    train, validation, targets = parts
    return EvaluationData(
        train=train, validation=validation, targets=targets, classes={"a": classes, "y": 3}, models=models or {}
    )


@cache
def world(kind):
    """Releases of noise in which the first value tells a bit.

    `plain` the attribute; `mixed` the attribute if the prediction is 0, its opposite if 1, nothing if 2; `decided`
    nothing, where the prediction decides the attribute nine times out of ten; `untold` as plain, without predictions;
    `rare` the attribute, of which one class has a tenth; `nothing` of a rare attribute.
    """
    n, source = sum(SIZES), generator(1)
    y = torch.randint(3, (n,), generator=source)
    a = torch.randint(2, (n,), generator=source)
    release = torch.randn(n, 12, generator=source)
    if kind in ("rare", "nothing"):
        a = (torch.rand(n, generator=source) < 0.1).long()
    if kind == "decided":
        a = torch.where(torch.rand(n, generator=source) < 0.9, (y > 0).long(), 1 - (y > 0).long())
    bit = a * 2 - 1
    if kind == "mixed":
        bit = bit * torch.tensor([1, -1, 0])[y]
    if kind not in ("decided", "nothing"):
        release[:, 0] = 1.5 * bit + 0.4 * release[:, 0]
    return build(release, a, y, None if kind == "untold" else y)


def grade(adversary, one, *, arm="attack", labels="all", goal=GOAL, level=None):
    level = level or adversary.level
    threat = ThreatModel(level=level, labels_per_class=labels if level >= "L2" else None)
    return assess(adversary, one, goal, threat, arm=arm, seed=11, fit_seed=12)


def rate(graded):
    return float(graded.targets.double().mean())


def alarm(graded, floor):
    hits, n = int(graded.targets.sum()), len(graded.targets)
    return stats.binomtest(hits, n).proportion_ci(0.998, "exact").low > floor


def floor_of(one):
    return float(GOAL.floor(one).double().mean())


def make(name, **settings):
    return ADVERSARIES.get(name)(**settings)


PROBES = [{"probe": "linear"}, {"probe": "mlp", "steps": 150}]


@pytest.mark.parametrize("kind", ["plain", "mixed", "decided", "untold", "rare", "nothing"])
def test_the_table_is_the_floor_of_the_rows_that_it_may_learn_from(kind):
    one = world(kind)
    # The floor knows the validation part too; without it both are the same guesser.
    empty = one.validation.take(torch.tensor([], dtype=torch.long))
    alone = dataclasses.replace(one, validation=empty)
    told = GOAL.decided(*table_scores(one), one).argmax(1) == one.targets.labels["a"]
    assert torch.equal(told[GOAL.graded(one, one.targets)], GOAL.floor(alone))


def table_scores(one):
    view = Knowledge(one, ThreatModel(level="L0"), "a", predictions=True)
    attack, told = make("table").fit(view, generator(0)), one.targets.prediction
    guess = attack.guess(one.targets.release)
    guess = guess if told is None else attack.guess_knowing(one.targets.release, told)
    counts = torch.bincount(one.train.labels["a"], minlength=2)
    return guess, attack.scale, counts / counts.sum()


@pytest.mark.parametrize("settings", PROBES, ids=["linear", "mlp"])
def test_with_prediction_finds_what_the_release_tells(settings):
    graded = grade(make("with-prediction", **settings), world("plain"))
    assert alarm(graded, floor_of(world("plain")))
    assert graded.flags == ()


def test_only_who_reads_both_finds_what_is_told_in_the_light_of_the_prediction():
    one = world("mixed")
    assert not alarm(grade(make("mlp", steps=150), one), 0.65)
    # Two thirds of the releases tell, the rest is a coin.
    assert alarm(grade(make("with-prediction", **PROBES[1]), one), 0.7)


@pytest.mark.parametrize("settings", PROBES, ids=["linear", "mlp"])
def test_where_the_release_tells_nothing_the_prediction_is_all_there_is(settings):
    one = world("decided")
    graded = grade(make("with-prediction", **settings), one)
    assert not alarm(graded, floor_of(one))
    assert rate(graded) > 0.8
    assert alarm(graded, float((one.targets.labels["a"] == GOAL.majority(one)).double().mean()))


@pytest.mark.parametrize("settings", PROBES, ids=["linear", "mlp"])
def test_shuffled_labels_leave_nothing_to_find(settings):
    graded = grade(make("with-prediction", **settings), world("plain"), arm="shuffled")
    assert not alarm(graded, graded.chance)


def test_one_label_per_class_does_not_make_it_forget_the_table():
    one = world("decided")
    assert rate(grade(make("with-prediction"), one, labels=1)) > 0.75


def test_without_a_target_there_is_no_prediction_to_learn_from():
    with pytest.raises(NotApplicableError, match="no target"):
        grade(make("with-prediction"), world("untold"))
    with pytest.raises(KnowledgeError):
        grade(make("with-prediction"), world("plain"), goal=TaskLabel(label="y"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Undeclared(Adversary):
    """Reads predictions without saying so."""

    level = "L2"

    def fit(self, view, generator):
        return view.labelled_predictions


def test_who_does_not_declare_it_is_not_told():
    with pytest.raises(KnowledgeError, match="does not grant"):
        grade(Undeclared(), world("plain"))


def test_an_input_transform_hands_predictions_through():
    n = sum(SIZES)
    y = torch.randint(3, (n,), generator=generator(3))
    one = build(torch.rand(n, 1, 8, 8, generator=generator(4)), (y > 0).long(), y, y)
    one = dataclasses.replace(one, train=dataclasses.replace(one.train, images=one.train.release))
    inner = make("input-transform", inner="with-prediction", transform="blur")
    assert inner.uses_prediction
    assert rate(grade(inner, one)) == 1.0


LEARNED = [("linear", {}), ("knn", {}), ("mlp", {"steps": 150}), ("norms", {}), ("with-prediction", {})]


@pytest.mark.parametrize(("name", "settings"), LEARNED, ids=[name for name, _ in LEARNED])
def test_of_a_rare_class_as_many_rows_are_graded_and_constant_guesses_get_half(name, settings):
    one = world("nothing")
    graded = grade(make(name, **settings), one)
    rare = int(one.targets.labels["a"].sum())
    assert len(graded.targets) == 2 * rare
    assert graded.chance == 0.5
    assert floor_of(one) <= 0.6
    assert not alarm(graded, 0.5)


@pytest.mark.parametrize(("name", "settings"), [row for row in LEARNED if row[0] != "norms"])
def test_a_rare_class_is_found(name, settings):
    graded = grade(make(name, **settings), world("rare"))
    assert alarm(graded, 0.5)
    assert rate(graded) > 0.8


class Clean(nn.Module):
    """A tiny clean model."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.body(x))


@cache
def mixed_images(swapped=False):
    """Images whose attribute is a pattern under noise, released as a secret orthogonal mix; a clean model of them."""
    n, source = sum(SIZES), generator(7)
    a, y = torch.randint(2, (n,), generator=source), torch.randint(3, (n,), generator=source)
    pattern = torch.randn(64, generator=source)
    x = 0.5 + 0.025 * (a * 2 - 1)[:, None] * pattern + 0.15 * torch.randn(n, 64, generator=source)
    rotation = torch.linalg.qr(torch.randn(64, 64, generator=source)).Q
    release = (x @ rotation).reshape(n, 1, 8, 8)
    x = x.clamp(0, 1).reshape(n, 1, 8, 8)
    model = seeded(Clean, source)
    train_classifier(model, x[: SIZES[0]], a[: SIZES[0]], TrainSettings(steps=80), source)
    if swapped:
        x = torch.cat([x[: SIZES[0]].roll(1, 0), x[SIZES[0] :]])
    return build(release, a, y, None, images=x, models={"clean": model})


def test_decensoring_reads_few_labels_better_because_it_learned_from_pairs():
    one = mixed_images()
    few = {"labels": 3}
    mapped = grade(make("decensor", model="clean"), one, **few)
    assert alarm(mapped, 0.7)
    assert rate(mapped) > rate(grade(make("linear"), one, **few)) + 0.1
    assert alarm(grade(make("decensor", model="clean"), one), 0.75)


def test_decensoring_behind_a_transform_reads_what_it_reads_without():
    inner = {"inner": "decensor", "options": {"model": "clean"}, "transform": "flip"}
    # A mirror image loses nothing, so neither does a linear map of it.
    assert alarm(grade(make("input-transform", **inner), mixed_images(), level="L3"), 0.75)


def test_decensoring_with_a_swapped_pairing_is_worth_no_more_than_its_labels():
    assert not alarm(grade(make("decensor", model="clean"), mixed_images(swapped=True), labels=3), 0.65)


def test_decensoring_needs_pairs_and_finds_nothing_where_nothing_is():
    one, adversary = mixed_images(), make("decensor", model="clean")
    with pytest.raises(KnowledgeError, match="pairs"):
        grade(adversary, one, level="L2")
    graded = grade(adversary, one, arm="shuffled")
    assert not alarm(graded, graded.chance)
    noise = torch.randn(sum(SIZES), 1, 8, 8, generator=generator(9)).split(SIZES)
    parts = [
        dataclasses.replace(p, release=r) for p, r in zip((one.train, one.validation, one.targets), noise, strict=True)
    ]
    null = dataclasses.replace(one, train=parts[0], validation=parts[1], targets=parts[2])
    assert not alarm(grade(adversary, null), floor_of(null))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(Adversary):
    """Always says the first class."""

    level = "L2"

    def fit(self, view, generator):
        class Says(Attack):
            def guess(self, release):
                return torch.tensor([[1.0, -1.0]]).repeat(len(release), 1)

        return Says()


def test_answers_about_single_classes_are_graded_outside_the_adversary():
    one = world("plain")
    told, silent = grade(make("linear"), one), grade(Constant(), one)
    for part, graded in ((0, one.validation), (1, one.targets)):
        least = int(torch.bincount(graded.labels["a"]).min())
        codes = silent.classes[part]
        assert codes.shape == (len(graded), 1)
        assert (codes != 2).sum() == 2 * least
        assert codes[codes != 2].double().mean() == 0.5
    codes = told.classes[1]
    assert codes[codes != 2].double().mean() > 0.95
    assert grade(make("linear"), one, goal=TaskLabel(label="y")).classes is None
