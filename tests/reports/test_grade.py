"""Grading somebody else's guesses: the numbers, the controls, ours beside them, and what is refused."""

import io

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import beta, binomtest

from reports.studies.suite.grading import Question, dump, grade, load_grade
from reports.studies.suite.tables import render_grade
from tests.suites import TARGETS, attack, suite, world
from vfc.errors import UserError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return suite(tmp_path_factory.mktemp("suite"))


def index_of(made):
    return made.arrays("defenses/identity/attack.safetensors")["targets.index"]


def truth(label="side", *, shuffled=False, made=None):
    if made is not None:
        return made.arrays("grader/truth.safetensors")[f"{label}.shuffled" if shuffled else label]
    return world().targets.labels[label].numpy()


def guessing(right, values):
    """Guesses of two classes that are right on the first so many."""
    return np.where(np.arange(len(values)) < right, values, 1 - values)


def graded(made, tmp_path, question=None, **arrays):
    path = tmp_path / "guesses.npz"
    np.savez(path, **{"index": index_of(made), **arrays})
    return grade(made, path, question or Question(defense="identity", labels=10))


def test_the_rate_and_its_bounds_are_clopper_pearsons(tiny, tmp_path):
    found = graded(tiny, tmp_path, guesses=guessing(150, truth())).attack
    assert (found.value, found.n) == (0.75, TARGETS)
    assert found.low == pytest.approx(beta.ppf(0.05, 150, 51), abs=1e-9)
    assert found.high == pytest.approx(beta.ppf(0.95, 151, 50), abs=1e-9)


def test_probabilities_and_another_order_say_the_same(tiny, tmp_path):
    guesses = guessing(150, truth())
    plain = graded(tiny, tmp_path, guesses=guesses)
    shares = np.eye(2)[guesses] * 0.2 + 0.4
    assert graded(tiny, tmp_path, probabilities=shares).attack == plain.attack
    order = np.random.default_rng(0).permutation(TARGETS)
    turned = graded(tiny, tmp_path, guesses=guesses[order], index=index_of(tiny)[order])
    assert (turned.attack, turned.lead) == (plain.attack, plain.lead)
    digest = tiny.manifest.defenses["identity"].targets
    path = tmp_path / "digest.npz"
    np.savez(path, guesses=guesses, targets_digest=digest)
    assert grade(tiny, path, Question(defense="identity", labels=10)).attack == plain.attack


def test_without_its_controls_nobody_vouches_for_an_attack(tiny, tmp_path):
    guesses, sane = guessing(180, truth()), guessing(TARGETS // 2, truth(made=tiny, shuffled=True))
    bare = graded(tiny, tmp_path, guesses=guesses)
    assert (bare.standing, len(bare.doubts), bare.above_floor) == ("unvouched", 2, True)
    half = graded(tiny, tmp_path, guesses=guesses, ceiling=truth())
    assert (half.standing, len(half.doubts)) == ("unvouched", 1)
    whole = graded(tiny, tmp_path, guesses=guesses, ceiling=truth(), shuffled=sane)
    assert (whole.standing, whole.doubts) == ("vouched", ())
    assert whole.ceiling.value == 1
    assert whole.shuffled.value == 0.5


def test_a_missed_ceiling_is_a_doubt_about_silence_and_none_about_a_hit(tiny, tmp_path):
    guesses, sane = guessing(180, truth()), guessing(TARGETS // 2, truth(made=tiny, shuffled=True))
    blind = graded(tiny, tmp_path, guesses=guesses, ceiling=np.zeros(TARGETS, int), shuffled=sane)
    assert (blind.standing, blind.ahead, blind.above_floor) == ("unvouched", True, True)
    assert "even on the images" in blind.doubts[0]


def test_an_attack_that_beats_chance_on_permuted_labels_is_void(tiny, tmp_path):
    guesses = guessing(180, truth())
    # The least number of hits on permuted labels that luck does not explain at .001.
    permuted = truth(made=tiny, shuffled=True)
    chance = np.bincount(permuted).max() / TARGETS
    limit = next(k for k in range(TARGETS) if binomtest(k, TARGETS, chance, "greater").pvalue < 0.001)
    for hits, standing in ((limit - 1, "vouched"), (limit, "void")):
        leaky = graded(tiny, tmp_path, guesses=guesses, ceiling=truth(), shuffled=guessing(hits, permuted))
        assert leaky.standing == standing


def test_the_floor_of_an_attribute_knows_what_the_target_predicts(tiny, tmp_path):
    question = Question(defense="identity", aim="attribute", labels="all")
    found = graded(tiny, tmp_path, question, guesses=truth("half"))
    assert (found.goal, found.attack.value) == ("attribute:half", 1.0)
    floor = tiny.arrays("grader/answers/identity.safetensors")["half.floor"]
    assert found.floor.value == floor.mean()


def test_ours_is_chosen_on_validation_among_those_who_knew_no_more(tmp_path):
    best = [
        attack([1] * 150 + [0] * 50, adversary="lucky", validation=0.4),
        attack([1] * 120 + [0] * 80, adversary="chosen", validation=0.9),
        attack([1] * 200, adversary="richer", labels="all", validation=1.0),
        attack([1] * 200, adversary="insider", level="L3", validation=1.0),
        attack([1] * 200, adversary="cheat", validation=1.0, health=("SHUFFLED_ABOVE_CHANCE",)),
    ]
    made = suite(tmp_path, attacks=best)
    found = graded(made, tmp_path, guesses=guessing(160, truth()))
    assert (found.ours.adversary, found.ours.accuracy.value) == ("chosen", 0.6)
    assert found.lead.value == pytest.approx(0.2)
    assert found.ahead
    # 8 targets more, of 8 that differ: .5 ** 8 is above .001; 10 are below it.
    for right, ahead in ((128, False), (130, True)):
        assert graded(made, tmp_path, guesses=guessing(right, truth())).ahead is ahead
    for labels in (50, "all"):  # of 50 nobody had just as many: who had the next more is ahead of nobody by knowledge
        found = graded(made, tmp_path, Question(defense="identity", labels=labels), guesses=truth())
        assert (found.ours.adversary, found.ours.labels) == ("richer", "all")
    few = suite(tmp_path / "few", attacks=best[:2])
    assert graded(few, tmp_path, Question(defense="identity", labels=50), guesses=truth()).ours is None


N = TARGETS


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "expected one of guesses and probabilities"),
        ({"guesses": np.zeros(N, int), "probabilities": np.ones((N, 2))}, "got guesses and probabilities"),
        ({"guesses": np.zeros(N - 1, int)}, "of shape"),
        ({"guesses": np.zeros((N, 2))}, "of shape"),
        ({"probabilities": np.ones((N, 3))}, "of shape"),
        ({"guesses": np.full(N, np.nan)}, "NaN"),
        ({"probabilities": np.full((N, 2), np.inf)}, "infinite"),
        ({"guesses": np.full(N, 2)}, "whole numbers from 0 to 1"),
        ({"guesses": np.full(N, 0.5)}, "whole numbers"),
        ({"guesses": np.full(N, "a")}, "expected numbers"),
        ({"guesses": np.zeros(N, int), "ceiling": np.zeros(3, int)}, "'ceiling' of shape"),
        ({"guesses": np.zeros(N, int), "guesess": np.zeros(N)}, "did you mean 'guesses'"),
        ({"guesses": np.zeros(N, int), "index": np.arange(N)}, "other targets"),
        ({"guesses": np.zeros(N, int), "index": np.zeros((N, 2), int)}, "integers in 'index'"),
        ({"guesses": np.zeros(N, int), "index": None, "targets_digest": "abc"}, "another order"),
        ({"guesses": np.zeros(N, int), "index": None}, "got neither"),
        ({"guesses": np.zeros(N, int), "suite": "tiny-2"}, "another version"),
        ({"guesses": np.zeros(N, int), "suite": np.arange(3)}, "one text"),
    ],
)
def test_guesses_that_cannot_be_graded_are_refused_with_the_reason(tiny, tmp_path, arrays, words):
    path = tmp_path / "guesses.npz"
    given = {"index": index_of(tiny), **arrays}
    np.savez(path, **{name: values for name, values in given.items() if values is not None})
    with pytest.raises(UserError, match=words):
        grade(tiny, path, Question(defense="identity", labels=10))


@pytest.mark.parametrize(
    ("content", "words"), [(b"hello", "no zip archive"), (None, "never unpickled"), (b"PK", "no zip archive")]
)
def test_what_is_no_file_of_arrays_is_refused_without_the_advice_to_trust_it(tiny, tmp_path, content, words):
    path = tmp_path / "guesses.npz"
    if content is None:
        np.savez(path, guesses=np.array([{}] * N, dtype=object), index=index_of(tiny))
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words) as found:
        grade(tiny, path, Question(defense="identity", labels=10))
    assert "allow_pickle" not in str(found.value)


def test_one_target_twice_is_refused(tiny, tmp_path):
    index = index_of(tiny).copy()
    index[0] = index[1]
    with pytest.raises(UserError, match="other targets"):
        graded(tiny, tmp_path, guesses=truth(), index=index)


def test_guesses_about_another_suite_of_the_same_form_are_refused(tiny, tmp_path):
    other = suite(tmp_path / "other", name="tiny-2")
    with pytest.raises(UserError, match="got 0 of them"):
        graded(tiny, tmp_path, guesses=truth(), index=index_of(other))


def test_what_the_suite_does_not_have_is_refused(tiny, tmp_path):
    for question, words in [
        (Question(defense="identiti"), "did you mean 'identity'"),
        (Question(defense="nte"), "no null space"),
        (Question(defense="identity", aim="attribute", attribute="age"), "unknown attribute"),
        (Question(defense="identity", attribute="half"), "goal attribute"),
        (Question(defense="identity", level="L5"), "unknown threat level"),
    ]:
        with pytest.raises(UserError, match=words):
            graded(tiny, tmp_path, question, guesses=truth())
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UserError, match=r"expected an \.npz"):
        grade(tiny, tmp_path / "text.npz", Question(defense="identity"))
    with pytest.raises(UserError, match="cannot read"):
        grade(tiny, tmp_path / "nothing.npz", Question(defense="identity"))


def test_a_grade_is_read_back_unless_a_hand_was_on_it(tiny, tmp_path):
    made = graded(tiny, tmp_path, guesses=truth(), by="Ada \x1b[31m")
    file = tmp_path / "grade.json"
    file.write_bytes(dump(made))
    assert load_grade(file) == made
    file.write_text(file.read_text().replace('"standing": "unvouched"', '"standing": "vouched"'))
    with pytest.raises(UserError, match="changed by hand"):
        load_grade(file)
    file.write_text("{}")
    with pytest.raises(UserError, match="expected a grade"):
        load_grade(file)
    console = Console(width=100, record=True, file=io.StringIO())
    render_grade(made, console)
    text = console.export_text()
    assert "nobody vouches" in text
    assert "clearly ahead of ours" in text
    assert "\x1b" not in text
