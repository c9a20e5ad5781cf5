"""Means over targets, and when there is none."""

import numpy as np
import pytest
import scipy.stats

from adversaries.statistics import estimates, intervals

ROWS = np.random.default_rng(0).normal(30, 5, 40)


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_bounds_of_a_mean_are_students(alpha):
    low, high = scipy.stats.t.interval(1 - 2 * alpha, 39, ROWS.mean(), scipy.stats.sem(ROWS))
    assert intervals.mean_bounds(ROWS, alpha) == pytest.approx((ROWS.mean(), low, high))
    value = estimates.mean(ROWS, "dB", alpha, rows="key")
    assert (value.value, value.low, value.high) == pytest.approx((ROWS.mean(), low, high))
    assert (value.n, value.unit, value.rows) == (40, "dB", "key")


def test_a_mean_of_half_precision_numbers_is_taken_in_double_precision():
    rows = ROWS.astype(np.float16)
    assert intervals.mean_bounds(rows, 0.05) == intervals.mean_bounds(rows.astype(np.float64), 0.05)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [([1.0], "fewer than two targets"), ([], "fewer than two targets"), ([1.0, np.nan, 2.0], "is not finite")],
)
def test_a_mean_that_cannot_be_had_is_unknown_in_its_unit(rows, reason):
    value = estimates.mean(rows, "dB")
    assert (value.value, value.unit) == (None, "dB")
    assert reason in value.reason
