"""Membership adversaries against closed forms and scikit-learn, and the controls that catch those that lie."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy import special
from scipy import stats as scipy_stats
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from adversaries.attacks.membership.bavaria import _Predictive, _Prior
from adversaries.attacks.membership.signals import FEATURES, confidence, measure
from adversaries.goals.marked_members import hard_kind
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Readings, Shadows
from adversaries.goals.membership_grading import (
    PLANTED,
    MembershipInputs,
    assess_membership,
    calibrate,
    held_out,
    hits_at,
    planted,
    real,
    roc,
)
from adversaries.health import HARD
from adversaries.statistics import estimates, intervals, levels
from vfc.defense import DEFENSES, Defense
from vfc.errors import NotApplicableError
from vfc.release import Release

N, U, S = 800, 600, 8


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def world(effect=0.0, difficulty=0.0, flagged=0.0, *, shadows=S, online=False, seed=0):
    """A synthetic world with unit noise.

    The signal of a member is larger by `effect`; images differ by `difficulty`; a share `flagged` of the members has
    a mark in the release.
    """
    source = random(seed)
    truth = np.arange(N) < N // 2
    source.shuffle(truth)
    hard, hard_universe = difficulty * source.standard_normal(N), difficulty * source.standard_normal(U)
    member = np.stack([source.permutation(np.arange(U) < U // 2) for _ in range(shadows)])
    inside = np.stack([source.permutation(np.arange(N) < N // 2) for _ in range(shadows)]) & online

    def readings(hard, member):
        signals = np.stack([hard + effect * member + source.standard_normal(len(member))], axis=1)
        release = source.standard_normal((len(member), 5))
        release[member & (source.random(len(member)) < flagged), 2] = 8.0
        return Readings(signals=signals, release=release)

    return truth, MembershipInputs(
        real=readings(hard, truth),
        shadows=Shadows(
            names=("confidence",),
            universe=[readings(hard_universe, row) for row in member],
            member=member,
            candidates=[readings(hard, row) for row in inside],
            inside=inside,
            online=online,
        ),
    )


def attack(name, **settings):
    return ADVERSARIES.get(name)(**settings)


def grade(adversary, seen, truth, arm="attack", seed=4):
    return assess_membership(adversary, seen, truth, arm=arm, seed=seed)


def area(graded, truth):
    """Under the curve, by the trapezoid rule."""
    false, true, _ = roc(graded.scores, truth)
    return float(np.trapezoid(true, false))


@pytest.mark.parametrize("ties", [False, True])
def test_the_curve_agrees_with_scikit_learn(ties):
    scores = random(1).standard_normal(300)
    scores = np.round(scores) if ties else scores
    truth = random(2).random(300) < 0.4
    false, true, thresholds = roc(scores, truth)
    expected = roc_curve(truth, scores, drop_intermediate=False)
    for ours, theirs in zip((false, true, thresholds), expected, strict=True):
        assert np.allclose(ours, theirs)
    for level in (0.01, 0.1, 0.5):
        best = expected[1][expected[0] <= level].max()
        assert hits_at(scores, truth, level) == round(best * truth.sum())


def test_the_likelihood_ratio_reaches_the_closed_form():
    # Two unit Gaussians one apart: the area under the best curve is Phi(1 / sqrt(2)) = 0.760.
    truth, seen = world(effect=1.0, shadows=32, online=True)
    graded = grade(attack("lira"), seen, truth)
    best = scipy_stats.norm.cdf(1 / np.sqrt(2))
    assert area(graded, truth) == pytest.approx(best, abs=4 * np.sqrt(best * (1 - best) / (N / 2)))
    # The best threshold is halfway: advantage Phi(0.5) - Phi(-0.5) = 0.383.
    assert graded.advantage.value == pytest.approx(0.383, abs=0.1)
    assert graded.advantage.low > 0.25


@pytest.mark.parametrize("online", [False, True])
def test_where_images_differ_the_likelihood_ratio_beats_the_threshold(online):
    truth, seen = world(effect=2.0, difficulty=5.0, online=online)
    ratio, plain = grade(attack("lira"), seen, truth), grade(attack("loss-threshold"), seen, truth)
    assert ratio.advantage.low > plain.advantage.high
    assert ratio.advantage.value > 0.5
    assert levels.recompute(ratio.advantage, 0.001).low > 0


def test_with_four_shadows_a_prior_from_all_images_does_not_lose_to_one_variance():
    gained = []
    for seed in range(5):
        truth, seen = world(effect=1.5, difficulty=1.0, shadows=4, seed=seed)
        gained.append(
            area(grade(attack("bavaria"), seen, truth), truth) - area(grade(attack("lira"), seen, truth), truth)
        )
    assert np.mean(gained) > 0


def test_the_predictive_law_is_students_t():
    source = random(3)
    values, chosen = source.standard_normal((5, 40)), source.random((5, 40)) < 0.6
    law = _Predictive.of(values, chosen, _Prior.of(values, chosen, 4.0))
    seen = source.standard_normal(40)
    expected = scipy_stats.t(law.freedom, law.middle, law.width).logpdf(seen)
    np.testing.assert_allclose(law.likelihood(seen), expected)
    normal = scipy_stats.norm.ppf(scipy_stats.t(law.freedom, law.middle, law.width).cdf(seen))
    np.testing.assert_allclose(law.quantile(seen), normal, atol=0.05)
    np.testing.assert_array_equal(law.freedom, 4 + chosen.sum(0))


@pytest.mark.parametrize("online", [False, True])
def test_an_image_stands_out_by_its_probability_over_the_mean_of_the_shadows(online):
    _, seen = world(effect=1.0, online=online)
    sight = real(seen.shadows, seen.real)
    mean = special.expit(sight.shadows[:, :, 0]).mean(0)
    mean = mean if online else 0.5 * (1.3 * mean + 0.7)
    expected = np.log(special.expit(sight.readings.signals[:, 0]) / mean)
    np.testing.assert_allclose(attack("rmia").score(sight), expected)


@pytest.mark.parametrize("name", ["loss-threshold", "lira", "rmia", "bavaria", "shadow-classifier", "shadow-reader"])
@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("shadows", [2, S])
def test_a_score_does_not_depend_on_which_other_images_are_in_question(name, online, shadows):
    _, seen = world(effect=1.0, difficulty=2.0, shadows=shadows, online=online)
    for sight in (real(seen.shadows, seen.real), held_out(seen.shadows, 0)):
        for rows in (np.arange(0, len(sight.readings.signals), 7), np.array([3])):
            part = replace(
                sight,
                readings=sight.readings.take(rows),
                shadows=sight.shadows[:, rows],
                inside=sight.inside[:, rows],
            )
            np.testing.assert_allclose(attack(name).score(part), attack(name).score(sight)[rows], rtol=1e-9)


def test_one_threshold_finds_what_all_images_share():
    truth, seen = world(effect=2.0)
    graded = grade(attack("loss-threshold"), seen, truth)
    # 2 Phi(1) - 1 = 0.683 is the most that one threshold can do.
    assert graded.advantage.value == pytest.approx(0.683, abs=0.08)
    assert graded.calibrated.advantage == pytest.approx(0.683, abs=0.05)
    assert graded.calibrated.threshold == pytest.approx(1.0, abs=0.3)


def test_a_signal_that_is_smaller_for_members_is_turned_round():
    truth, seen = world(effect=-2.0)
    assert grade(attack("lira"), seen, truth).advantage.value > 0.4
    with pytest.raises(NotApplicableError, match="kl"):
        grade(attack("lira", signal="kl"), seen, truth)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_mark_on_the_release_of_members_is_found(share):
    truth, seen = world(flagged=share)
    graded = grade(attack("shadow-classifier"), seen, truth)
    assert graded.advantage.value == pytest.approx(share, abs=0.1)
    assert levels.recompute(graded.advantage, 0.001).low > 0


@pytest.mark.parametrize("name", ["loss-threshold", "lira", "rmia", "bavaria", "shadow-classifier", "shadow-reader"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_found_where_nothing_is(name, seed):
    truth, seen = world(difficulty=1.0, seed=seed)
    assert levels.recompute(grade(attack(name), seen, truth).advantage, 0.001).low <= 0


@pytest.mark.parametrize("name", ["loss-threshold", "lira", "rmia", "bavaria", "shadow-classifier"])
@pytest.mark.parametrize("online", [False, True])
def test_controls_a_planted_leak_shows_and_permuted_truth_does_not(name, online):
    truth, seen = world(effect=3.0, flagged=1.0, online=online)
    permuted = grade(attack(name), seen, truth, "shuffled")
    assert levels.recompute(permuted.advantage, 0.001).low <= 0
    truth, empty = world(online=online)
    shown = grade(attack(name), empty, truth, "ceiling")
    assert shown.advantage.low > 0.2
    assert grade(attack(name), empty, truth).advantage.high < shown.advantage.low


@dataclass(frozen=True, kw_only=True)
class Fake(MembershipAdversary):
    """An adversary that cheats or breaks."""

    how: str
    truth: tuple = ()

    def score(self, sight):
        rows = len(sight.readings.signals)
        match self.how:
            case "knows the truth":
                return np.where(self.truth, 100.0, -100.0) if rows == len(self.truth) else sight.readings.signals[:, 0]
            case "no numbers":
                return np.full(rows, np.nan)
            case _:
                return np.zeros(rows - 1)


def test_a_cheat_is_caught_where_the_truth_is_permuted():
    truth, seen = world()
    # Whoever permutes draws as the arm does, and so knows what the arm takes for true.
    generator = random(4)
    seen.shuffled(generator)
    cheat = Fake(how="knows the truth", truth=tuple(generator.permutation(truth)))
    assert levels.recompute(grade(cheat, seen, truth, "shuffled").advantage, 0.0001).low > 0
    assert levels.recompute(grade(cheat, seen, truth).advantage, 0.0001).low <= 0


def test_every_arm_draws_the_same_whichever_came_before():
    truth, seen = world(effect=1.0)
    generator = random(4)
    shuffled, answers = seen.shuffled(generator), generator.permutation(truth)
    planted = seen.planted(truth, generator)
    for arm, inputs, who in (("shuffled", shuffled, answers), ("ceiling", planted, truth), ("undefended", seen, truth)):
        graded, plain = grade(attack("lira"), seen, truth, arm), grade(attack("lira"), inputs, who)
        assert np.array_equal(graded.scores, plain.scores)
        assert np.array_equal(graded.rows, plain.rows)
        assert graded.calibrated == plain.calibrated


def test_rows_say_who_is_a_member_and_who_is_called_one():
    truth, seen = world(effect=2.0)
    graded = grade(attack("loss-threshold"), seen, truth)
    called = graded.scores >= graded.calibrated.threshold
    assert np.array_equal(graded.rows, truth + 2 * called)
    assert graded.advantage.value == pytest.approx(called[truth].mean() - called[~truth].mean())


def test_broken_scores_are_seen():
    truth, seen = world()
    assert not grade(Fake(how="no numbers"), seen, truth).finite
    with pytest.raises(ValueError, match="expected 600 scores"):
        grade(Fake(how="too few"), seen, truth)
    alone = world(shadows=1)[1]
    with pytest.raises(NotApplicableError, match="needs shadow defenses"):
        calibrate(attack("loss-threshold"), alone.shadows)


def test_whom_two_normal_signals_expose_is_known_in_closed_form():
    """Scores of members and others are 1.5 deviations apart: picked is who lies far enough from the middle."""
    truth, seen = world(effect=1.5)
    half = 0.75
    right, wrong = (lambda far, sign=sign: scipy_stats.norm.cdf(sign * half - far) for sign in (1, -1))
    far = brentq(lambda far: right(far) / (right(far) + wrong(far)) - 0.9, 0, 3)
    graded = grade(attack("loss-threshold"), seen, truth)
    assert graded.exposed[1].mean() == pytest.approx(right(far), abs=0.07)
    assert graded.picked.mean() == pytest.approx(right(far) + wrong(far), abs=0.09)
    assert not (graded.exposed[1] & ~graded.picked).any()
    # On the shadows as many are right as the rule asks for, and those who are picked out are members and others alike.
    assert graded.exposed[1][truth].mean() > 0.05
    assert graded.exposed[1][~truth].mean() > 0.05


def test_a_mark_that_few_members_carry_exposes_those_although_the_average_hides_them():
    truth, seen = world(flagged=0.12)
    graded = grade(attack("shadow-classifier"), seen, truth)
    assert abs(graded.advantage.value) < 0.25
    marked = truth & (seen.real.release[:, 2] == 8)
    assert graded.exposed[1][marked].mean() > 0.9
    assert graded.exposed[1].mean() == pytest.approx(0.06, abs=0.02)


def test_without_a_leak_hardly_anybody_is_exposed():
    shares = [grade(attack("loss-threshold"), *reversed(world(seed=seed))).exposed[1].mean() for seed in range(10)]
    assert np.mean(shares) < 0.03


def test_who_is_picked_out_does_not_depend_on_who_is_a_member_in_question():
    truth, seen = world(effect=1.0)
    graded, turned = (grade(attack("loss-threshold"), seen, answers) for answers in (truth, ~truth))
    assert (graded.picked == turned.picked).all()
    assert not (graded.exposed[1] & turned.exposed[1]).any()
    assert ((graded.exposed[1] | turned.exposed[1]) == graded.picked).all()


@dataclass(frozen=True, kw_only=True)
class Recognizes(MembershipAdversary):
    """Looks for the attacked defense among its shadows, and copies the answers from there."""

    where: str

    def score(self, sight):
        if self.where == "universe":
            found = [
                answers
                for lesson, answers in zip(sight.lessons, sight.answers, strict=True)
                if np.array_equal(lesson.signals, sight.readings.signals)
            ]
        else:
            found = [
                inside
                for signals, inside in zip(sight.shadows, sight.inside, strict=True)
                if np.array_equal(signals, sight.readings.signals)
            ]
        return found[0].astype(float) if found else np.zeros(len(sight.readings.signals))


@pytest.mark.parametrize("where", ["universe", "same rows"])
def test_an_attacked_shadow_is_not_among_the_shadows(where):
    _, seen = world()
    assert calibrate(Recognizes(where=where), seen.shadows).advantage == 0


def test_the_threshold_does_not_depend_on_the_images_in_question():
    truth, seen = world(effect=1.0)
    moved = MembershipInputs(
        real=Readings(signals=seen.real.signals + 100, release=seen.real.release), shadows=seen.shadows
    )
    once, again = (grade(attack("loss-threshold"), each, truth) for each in (seen, moved))
    assert once.calibrated == again.calibrated
    assert again.advantage.value == 0


def test_confidence_is_the_logit_of_the_probability():
    logits = 3 * torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(20) % 4
    p = logits.softmax(1)[torch.arange(20), labels].numpy()
    assert np.allclose(confidence(logits, labels).numpy(), np.log(p / (1 - p)))
    sure = torch.tensor([[1000.0, 0.0], [torch.inf, 0.0], [torch.nan, 0.0]])
    assert bool(torch.isfinite(confidence(sure, torch.zeros(3).long())).all())
    assert float(confidence(sure, torch.zeros(3).long())[0]) == pytest.approx(1000)


@dataclass(frozen=True, kw_only=True)
class Integers(Defense):
    """Large integer releases without a target."""

    def publish(self, x, generator):
        return Release(values=(x.flatten(1).repeat(1, 20) * 100).long())


def test_any_release_can_be_read():
    x = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    found = measure(Integers(), x, torch.zeros(6).long(), torch.Generator().manual_seed(0))
    assert found.names == ("norm",)
    assert found.readings.release.shape == (6, FEATURES)
    images = measure(DEFENSES.get("identity")(), x, torch.zeros(6).long(), torch.Generator().manual_seed(0))
    assert images.names == ("change", "norm")
    assert np.allclose(images.readings.release, x.flatten(1).double().numpy())
    assert np.allclose(images.readings.signals[:, 1], x.flatten(1).double().norm(dim=1).log().numpy())


def test_bounds_of_the_advantage_miss_at_most_as_often_as_they_say():
    n = m = 40
    hits, others = np.meshgrid(np.arange(n + 1), np.arange(m + 1), indexing="ij")
    bounds = intervals.apart_bounds(hits, n, others, m, 0.05)
    for p, q in ((0.5, 0.5), (0.1, 0.05), (0.9, 0.2), (0.02, 0.0), (1.0, 1.0), (0.7, 0.69)):
        weight = np.outer(scipy_stats.binom.pmf(np.arange(n + 1), n, p), scipy_stats.binom.pmf(np.arange(m + 1), m, q))
        assert weight[bounds.low > p - q + 1e-12].sum() <= 0.05
        assert weight[bounds.high < p - q - 1e-12].sum() <= 0.05
    value = estimates.advantage(30, 40, 10, 50)
    assert value.value == pytest.approx(0.55)
    assert levels.recompute(value, 0.001) == estimates.advantage(30, 40, 10, 50, 0.001)
    assert estimates.advantage(0, 0, 1, 2).value is None


def test_a_planted_leak_moves_some_members_by_six_deviations():
    truth, seen = world()
    was, now = seen.real, planted(seen.real, truth, random(3))
    for before, after in ((was.signals, now.signals), (was.release, now.release)):
        marked = (before != after).any(axis=1)
        assert not marked[~truth].any()
        assert marked.sum() / truth.sum() == pytest.approx(PLANTED, abs=0.12)
        assert np.allclose(after[marked] - before[marked], 6 * before.std(axis=0) + 1e-6)


def wider(seen, columns, *, whole=False):
    """The same with releases of so many columns, which hold noise."""
    source = random(9)

    def other(readings):
        release = source.standard_normal((len(readings.release), columns))
        return replace(readings, release=np.round(8 * release) if whole else release)

    shadows = seen.shadows
    shadows = replace(shadows, **{name: [*map(other, getattr(shadows, name))] for name in ("universe", "candidates")})
    return replace(seen, shadows=shadows, real=other(seen.real))


@pytest.mark.parametrize(("kind", "reader"), [("signs", "products"), ("residue", "residues"), ("scale", "row-views")])
def test_its_reader_finds_a_mark_of_members_that_no_single_number_shows(kind, reader):
    truth, seen = world(shadows=2)
    seen = wider(seen, 8, whole=kind == "residue")
    arm = f"{HARD}{kind}"
    found = grade(attack("shadow-reader", reader=reader), seen, truth, arm)
    # Half of the rows are marked, and of the others nobody knows anything.
    assert found.advantage.value == pytest.approx(PLANTED, abs=0.12)
    assert grade(attack("shadow-classifier"), seen, truth, arm).advantage.high < found.advantage.low
    assert grade(attack("lira"), seen, truth, arm).advantage.high < found.advantage.low
    assert levels.recompute(grade(attack("shadow-reader", reader=reader), seen, truth).advantage, 0.001).low <= 0


def test_a_hard_mark_is_in_half_of_the_releases_and_nowhere_else():
    truth, seen = world(shadows=2, online=True)
    seen = wider(seen, 8)
    now = seen.hard(truth, "signs", 3)
    assert np.array_equal(now.real.release, seen.hard(truth, "signs", 3).real.release)
    pairs = [(seen.real, now.real, truth)]
    for name, members in (("universe", seen.shadows.member), ("candidates", seen.shadows.inside)):
        pairs += zip(getattr(seen.shadows, name), getattr(now.shadows, name), members, strict=True)
    carriers = set()
    for before, after, member in pairs:
        assert after.signals is before.signals
        changed = before.release != after.release
        marked = changed.any(axis=1)
        assert marked.mean() == pytest.approx(PLANTED, abs=0.12)
        carriers.add(tuple(np.nonzero(changed.any(axis=0))[0]))
        columns = after.release[marked][:, changed.any(axis=0)]
        middle = (before.release.min() + before.release.max()) / 2
        assert columns.shape[1] == 3
        assert np.mean((np.sign(columns - middle).prod(axis=1) > 0) == member[marked]) > 0.95
    assert len(carriers) == 1  # the same under every defense


def test_which_hard_marks_membership_can_carry():
    truth, seen = world(shadows=2)
    kinds = {hard_kind(s.shadows, s.real, truth, seed) for s in (wider(seen, 8),) for seed in range(12)}
    assert kinds == {"signs", "scale"}
    whole = wider(seen, 80, whole=True)
    assert {hard_kind(whole.shadows, whole.real, truth, seed) for seed in range(12)} == {"residue", "scale"}
    one = wider(seen, 1)
    assert hard_kind(one.shadows, one.real, truth, 0) is None


def test_a_threshold_lies_halfway_between_members_and_others_that_are_all_told_apart():
    member = np.arange(10) < 5
    told = Readings(signals=np.where(member, 7.0, 4.0)[:, None], release=np.zeros((10, 2)))
    rows = np.stack([member, member])
    shadows = Shadows(
        names=("confidence",), universe=[told, told], member=rows, candidates=[told, told], inside=rows, online=False
    )
    found = calibrate(attack("loss-threshold"), shadows)
    assert (found.threshold, found.advantage) == (5.5, 1.0)


def test_what_a_threshold_promises_is_kept_where_defenses_are_alike_and_seen_where_they_are_not():
    # Two unit Gaussians one apart: at 1 % false alarms Phi(1 - 2.326) = .0924 of the members are found.
    truth, seen = world(effect=1.0, shadows=16, online=True)
    fixed = grade(attack("loss-threshold"), seen, truth)
    threshold = fixed.calibrated.allowing(0.01)
    promised = fixed.calibrated.false_rate(threshold)
    assert 0.008 < promised <= 0.01
    others = int((~truth).sum())
    kept = int((fixed.scores[~truth] >= threshold).sum())
    assert scipy_stats.binomtest(kept, others, promised).pvalue > 1e-3
    moved = replace(seen, real=replace(seen.real, signals=seen.real.signals + 1.5))
    broken = grade(attack("loss-threshold"), moved, truth)
    assert broken.calibrated.allowing(0.01) == threshold
    called = int((broken.scores[~truth] >= threshold).sum())
    assert scipy_stats.binomtest(called, others, promised).pvalue < 1e-6
