"""How outcomes become numbers, and how those are compared."""

import numpy as np
import pytest

from adversaries.goals.label import NOT_GRADED
from adversaries.health import LEVEL
from adversaries.statistics import estimates
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.flags import health_flags
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.evaluation.statistic import Statistic
from tests.protocols.builders import COST, hits

ADVANTAGE = Statistic(goal="membership", array="called", kind="advantage", unit="difference")


def called(members, others, of=100):
    """Codes of as many members as non-members, of whom some are called members."""
    member, right = np.repeat([1, 0], of), np.concatenate([np.arange(of) < members, np.arange(of) < others])
    return (member + 2 * right).astype(np.uint8)


@pytest.mark.parametrize(("members", "others"), [(70, 20), (50, 50), (10, 60), (100, 0)])
def test_an_advantage_is_that_of_the_estimates(members, others):
    found = ADVANTAGE.value(called(members, others), key="where", alpha=0.01)
    expected = estimates.advantage(members, 100, others, 100, 0.01)
    assert found == expected.model_copy(update={"rows": "where"})
    assert found.value == pytest.approx((members - others) / 100)
    assert (found.n, found.unit) == (200, "difference")


def test_an_advantage_knows_how_many_are_members():
    rows = np.concatenate([called(40, 10)[:60], called(40, 10)[100:]])  # of 60 members 40 are called
    assert ADVANTAGE.value(rows) == estimates.advantage(40, 60, 10, 100)


def test_members_found_on_shuffled_labels_are_found_above_chance():
    for members, others, above in ((80, 20, True), (52, 48, False), (20, 80, False)):
        assert ADVANTAGE.above_chance({"targets.called": called(members, others)}, LEVEL) is above


def test_on_shuffled_labels_an_unknown_advantage_is_not_above_chance():
    # Without non-members there is no false positive rate.
    nobody = {"targets.called": called(80, 0)[:100]}
    assert ADVANTAGE.value(nobody["targets.called"]).low is None
    assert not ADVANTAGE.above_chance(nobody, LEVEL)
    assert not ADVANTAGE.above_chance({}, LEVEL)


@pytest.mark.parametrize("right", [0, 3])
@pytest.mark.parametrize("wrong", [1, 2])
def test_whoever_calls_members_so_and_others_not_is_above_whoever_errs(right, wrong):
    more, less = np.full(50, right, np.uint8), np.full(50, wrong, np.uint8)
    assert ADVANTAGE.above(more, less, LEVEL)
    assert not ADVANTAGE.above(less, more, LEVEL)
    assert not ADVANTAGE.above(more, more, LEVEL)


def test_a_mean_is_taken_in_double_precision_and_a_rate_is_counted():
    psnr = np.array([20.0, 30.5, 40.25], np.float32)
    mean = Statistic(goal="g", array="psnr", kind="mean", unit="dB")
    assert mean.value(mean.rows({"targets.psnr": psnr}, "targets"), key="k") == estimates.mean(
        psnr.astype(np.float64), "dB", rows="k"
    )
    rate = Statistic(goal="g", array="hit", variants=("a", "b"))
    assert rate.value(rate.rows({"targets.hit.b": hits(0.3)}, "targets", "b")) == estimates.rate(120, 400)
    assert rate.rows({"targets.hit.b": hits(0.3)}, "targets", "a") is None


def test_only_a_clear_difference_beyond_the_margin_is_above():
    rate, mean = Statistic(goal="g"), Statistic(goal="g", kind="mean")
    low, high = hits(0.5), hits(0.5)
    high[np.flatnonzero(low == 0)[:30]] = 1
    assert rate.above(high, low, 0.001)
    assert not rate.above(low, high, 0.001)
    assert not rate.above(high, low, 0.001, margin=0.075)
    assert not rate.above(high, low, 1e-12)
    base = np.linspace(10, 20, 50)
    assert mean.above(base + 1 + np.tile([0.1, -0.1], 25), base, 0.001)
    assert not mean.above(base + 1 + np.tile([0.1, -0.1], 25), base, 0.001, margin=1.1)
    assert not mean.above(base + np.tile([5.0, -5.0], 25), base, 0.001)


def test_the_shuffled_control_is_corrected_for_the_number_of_its_results():
    rate = Statistic(goal="g", array="hit", variants=("a", "b"))
    least = next(k for k in range(400) if estimates.binomial_upper_tail(k, 400, 0.5) < LEVEL)
    one = {"targets.hit.a": hits(least / 400), "targets.chance": np.array([0.5])}
    assert rate.above_chance(one, LEVEL)
    assert not rate.above_chance({**one, "targets.hit.b": hits(0.5)}, LEVEL)


# --- one column: the question about one class ---


def about(*columns):
    """Codes of 100 targets about several classes; the last 40 of the second are not graded."""
    codes = np.stack([hits(share, seed, 100) for seed, share in enumerate(columns)], axis=1)
    codes[60:, 1] = NOT_GRADED
    return codes


def class_board(column, floor):
    """Two adversaries, the first of which is better at the first class and the second at the second."""
    statistic = Statistic(goal="attribute:a", array="classes", column=column, floor=floor, few=80)
    competitors = [Competitor(candidate=Candidate(adversary=name), level="L2") for name in ("a", "b")]
    results = Results(competitors=competitors, seeds=(0,), grid=("all",))
    for position, shares in enumerate(((0.9, 0.6), (0.6, 0.9))):
        arms = {"attack": about(*shares), "ceiling": about(1.0, 1.0), "shuffled": about(0.5, 0.5)}
        for arm, codes in arms.items():
            arrays = {"targets.classes": codes, "validation.classes": codes}
            found = Outcome(status="measured", arrays=arrays, cost=COST)
            results.outcomes[Trial(Attempt(position, "all"), arm, 0)] = found
    return Leaderboard(results=results, statistic=statistic)


@pytest.mark.parametrize(("column", "graded"), [(0, 100), (1, 60)])
def test_each_class_has_its_own_choice_among_its_graded_rows(column, graded):
    board = class_board(column, hits(0.5, 9, graded))
    best = board.choose(board.results.attempts("all"))
    assert best.attempt == Attempt(column, "all")
    (rows,) = board.rows(best)
    assert len(rows) == graded
    assert set(rows.tolist()) <= {0, 1}
    assert rows.tolist() == about(*((0.9, 0.6), (0.6, 0.9))[column])[:graded, column].tolist()
    assert board.floor(graded) == estimates.rate(graded // 2, graded)
    assert ("TOO_FEW_TARGETS" in health_flags(board, best)) is (graded < 80)


def test_of_a_class_whoever_is_right_more_than_half_of_the_time_on_shuffled_labels_is_dropped():
    board, cheat = class_board(0, hits(0.5, 9, 100)), Attempt(0, "all")
    # The best constant guess on the attribute is of no account for the question about one class.
    arrays = {"targets.classes": about(0.8, 0.5), "targets.chance": np.array([0.9])}
    board.results.outcomes[Trial(cheat, "shuffled", 0)] = Outcome(status="measured", arrays=arrays, cost=COST)
    assert board.dishonest(cheat) == ("SHUFFLED_ABOVE_CHANCE",)
    assert board.choose(board.results.attempts("all")) == Contestant(Attempt(1, "all"))
