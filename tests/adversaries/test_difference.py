"""Paired differences of rates, against closed forms and simulation."""

import math

import numpy as np
import pytest
import scipy.stats

from adversaries.statistics import estimates, intervals, levels


def exact(hits, n, alpha):
    found = scipy.stats.binomtest(hits, n).proportion_ci(1 - 2 * alpha, method="exact")
    return found.low, found.high


def test_where_only_one_side_is_discordant_the_bound_is_two_exact_ones():
    first, second = np.repeat([1, 1, 0], [30, 12, 58]) == 1, np.repeat([1, 0, 0], [30, 12, 58]) == 1
    value = estimates.difference(first, second)
    low, _ = exact(12, 100, 0.05)
    _, most = exact(0, 100, 0.05)
    assert value.value == pytest.approx(0.12)
    assert value.low == pytest.approx(0.12 - math.hypot(0.12 - low, most), abs=1e-9)
    assert value.counts == {"n11": 30, "n10": 12, "n01": 0, "n00": 58}
    assert (value.unit, value.n) == ("difference", 100)


def test_equal_hits_still_have_a_width_and_swapping_changes_the_sign():
    same = np.arange(200) < 150
    value = estimates.difference(same, same)
    assert value.low == pytest.approx(-value.high)
    assert value.high == pytest.approx(exact(0, 200, 0.05)[1], abs=1e-9)
    other = np.arange(200) < 120
    one, two = estimates.difference(same, other), estimates.difference(other, same)
    assert (one.value, one.low, one.high) == pytest.approx((-two.value, -two.high, -two.low))


def test_of_nobody_it_is_unknown_and_rows_must_match():
    assert estimates.difference([], []).value is None
    with pytest.raises(ValueError, match="one length"):
        estimates.difference([True], [True, False])


def test_another_level_comes_from_the_counts():
    first, second = np.arange(300) < 200, np.arange(300) % 3 > 0
    value = estimates.difference(first, second)
    again = levels.recompute(value, 0.01)
    assert (again.low, again.high) == (
        estimates.difference(first, second, 0.01).low,
        estimates.difference(first, second, 0.01).high,
    )
    assert again.low < value.low < value.high < again.high


CASES = ((0.0, 0.0), (0.001, 0.001), (0.005, 0.0), (0.02, 0.005), (0.03, 0.03), (0.1, 0.02), (0.3, 0.05), (0.5, 0.4),
         (0.05, 0.9), (0.8, 0.0), (0.99, 0.005))  # fmt: skip


@pytest.mark.parametrize("n", [60, 450, 2000])
def test_each_bound_misses_at_most_five_percent(n):
    for case, (p10, p01) in enumerate(CASES):
        drawn = np.random.default_rng(case).multinomial(n, [p10, p01, 1 - p10 - p01], size=4000)
        bounds = intervals.difference_bounds(drawn[:, 0], drawn[:, 1], n, 0.05)
        truth = p10 - p01
        # Four standard errors of 4,000 simulated evaluations.
        most = 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
        assert np.mean(bounds.low > truth + 1e-12) <= most
        assert np.mean(bounds.high < truth - 1e-12) <= most
