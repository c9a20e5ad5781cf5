"""How one statistic reads rows, compares them, and finds what shuffled controls must not show."""

import numpy as np
import pytest
import scipy.stats

from adversaries.goals.label import NOT_GRADED
from protocols.evaluation.statistic import Statistic, shuffled_control_p_values

RATE, MEAN = Statistic(goal="task:y"), Statistic(goal="inversion", kind="mean", unit="dB")
ADVANTAGE = Statistic(goal="membership", kind="advantage", unit="advantage")


def called(members, others, n=100):
    """Rows of membership: of n members and n others, how many are called members."""
    return np.concatenate([np.where(np.arange(n) < members, 3, 1), np.where(np.arange(n) < others, 2, 0)])


@pytest.mark.parametrize(
    ("members", "others", "above"), [(50, 50, False), (55, 50, False), (40, 60, False), (80, 20, True)]
)
def test_a_shuffled_control_of_membership_alarms_only_above_zero(members, others, above):
    assert ADVANTAGE.above_chance({"targets": called(members, others)}, 0.01) is above
    assert not ADVANTAGE.above_chance({"validation": called(members, others)}, 0.01)


def test_advantage_is_true_minus_false_positive_rate():
    value = ADVANTAGE.value(called(80, 30), key="rows")
    assert value.value == pytest.approx(0.5)
    assert value.rows == "rows"


def test_rows_that_are_not_graded_are_left_out():
    column = Statistic(goal="attribute", column=1)
    codes = np.array([[1, 1], [0, NOT_GRADED], [0, 0], [1, 1]])
    assert column.rows({"targets": codes}, "targets").tolist() == [1, 0, 1]
    assert column.rows({"targets": codes}, "validation") is None
    luck, knows = np.tile([0, 1], 50), np.ones(100, int)
    for rows, above in ((luck, False), (knows, True)):
        codes = np.stack([rows, rows], axis=1)
        assert column.above_chance({"targets": codes}, 0.01) is above
    assert not column.above_chance({}, 0.01)


def test_a_mean_is_taken_in_double_precision_and_labels_as_they_are():
    stored = np.array([0.1, 0.2], np.float32)
    assert MEAN.rows({"targets": stored}, "targets").dtype == np.float64
    assert RATE.rows({"targets": np.array([0, 1], np.uint8)}, "targets").dtype == np.uint8


def test_more_is_above_less_only_beyond_chance_and_margin_on_the_same_targets():
    less, more = np.zeros(40), np.ones(40)
    assert RATE.above(more, less, 0.01)
    assert not RATE.above(less, more, 0.01)
    assert not RATE.above(more, less, 0.01, margin=1.0)
    assert not RATE.above(more[:1], less, 0.9)
    assert RATE.above(more[:30], less, 0.01)
    # 6 to 1 has a one-sided p-value of 8 / 128 = 0.0625.
    one, other = np.repeat([1, 0, 1], [6, 1, 33]), np.repeat([0, 1, 1], [6, 1, 33])
    assert RATE.above(one, other, 0.063)
    assert not RATE.above(one, other, 0.062)


def test_means_are_compared_target_by_target():
    noise = np.random.default_rng(0).normal(0, 5, 30)
    less, more = noise, noise + 0.5 + 0.1 * np.random.default_rng(1).normal(size=30)
    assert MEAN.above(more, less, 0.01)
    assert not MEAN.above(less + np.tile([1.0, -0.99], 15), less, 0.01)
    assert not MEAN.above(less[:2], less[:2], 0.4)


def test_the_floor_of_hits_is_a_rate_and_that_of_shares_is_exact():
    hits = Statistic(goal="task:y", floor=np.array([1, 0, 1, 1]))
    assert (hits.floor_value(4).value, hits.floor_value(2).value) == (0.75, 0.5)
    assert hits.floor_value(4).low < 0.75
    shares = Statistic(goal="task:y", floor=np.array([0.25, 0.75]))
    assert (shares.floor_value(2).low, shares.floor_value(2).high) == (0.5, 0.5)
    assert hits.floor_value(0).value is None
    assert RATE.floor_value(4).value is None


def test_p_values_of_shuffled_controls_are_those_of_scipy():
    rng = np.random.default_rng(2)
    psnr, beside, read = rng.normal(10.5, 2, 40), rng.normal(10, 2, 40), rng.random(40) < 0.4
    beside[3] = np.nan
    arrays = {
        "targets.hit.nearest": rng.random(40) < 0.3, "targets.chance": np.full(40, 0.1), "targets.psnr": psnr,
        "targets.beside": beside, "targets.read.model": read, "targets.majority": np.array([0.3]),
    }  # fmt: skip
    apart = (psnr - beside)[np.isfinite(beside)]
    expected = [
        scipy.stats.binomtest(int(arrays["targets.hit.nearest"].sum()), 40, 0.1, "greater").pvalue,
        scipy.stats.ttest_1samp(apart, 0, alternative="greater").pvalue,
        scipy.stats.binomtest(int(read.sum()), 40, 0.3, "greater").pvalue,
    ]
    assert list(shuffled_control_p_values(arrays)) == pytest.approx(expected)
    # Of several results, each is held against its share of the level.
    several = {f"targets.hit.{i}": np.repeat([1, 0], [5, 0]) for i in range(3)} | {"targets.chance": np.array([0.5])}
    assert RATE.above_chance(several, 3.1 / 32)
    assert not RATE.above_chance(several, 2.9 / 32)


def test_psnr_without_spread_or_of_one_target_shows_nothing():
    for rows in (np.full(5, 12.0), np.array([12.0])):
        assert list(shuffled_control_p_values({"targets.psnr": rows, "targets.beside": rows - 1})) == [1.0]
