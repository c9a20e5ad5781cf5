"""Spearman's coefficient against scipy.stats, and how often its bounds miss."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from adversaries.statistics.rank_correlation import spearman

PAIRS = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=4, max_size=30)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(PAIRS)
def test_agrees_with_scipy_whatever_the_ties(pairs):
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = spearman(x, y)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found.value is None
        assert found.reason == "one side is the same everywhere"
        return
    assert found.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert -1 <= found.low <= found.value <= found.high <= 1
    turned = spearman(x, [-number for number in y])
    assert (turned.value, turned.low, turned.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_bounds_are_those_of_bonett_and_wright():
    x = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    y = [2.0, 1, 4, 3, 7, 5, 6, 10, 8, 9]
    r = scipy.stats.spearmanr(x, y).statistic
    reach = scipy.stats.norm.ppf(0.95) * math.sqrt((1 + r**2 / 2) / 7)
    found = spearman(x, y)
    assert (found.low, found.high) == pytest.approx(
        (math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach))
    )
    assert found.n == 10
    strict = spearman(x, y, level=0.001)
    assert strict.low < found.low < found.high < strict.high


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_pairs_have_no_value(n):
    found = spearman(list(range(n)), list(range(n)))
    assert (found.value, found.low, found.high, found.n) == (None, None, None, n)
    assert found.reason == f"{n} pairs; at least 4 are needed"
    assert not found.excludes_zero


def test_a_perfect_order_is_no_certainty():
    few, many = (spearman(list(range(n)), list(range(n))) for n in (4, 40))
    assert (few.value, few.high, many.value, many.high) == (1, 1, 1, 1)
    assert few.low < 0 < many.low < 1
    assert not few.excludes_zero
    assert many.excludes_zero
    assert spearman(list(range(40)), list(range(0, -40, -1))).low == -1


@pytest.mark.parametrize(
    ("x", "y", "level", "match"),
    [
        ([1, 2, 3, 4], [1, 2, 3], 0.05, "one length, got 4 and 3"),
        ([1, 2, 3, math.nan], [1, 2, 3, 4], 0.05, "finite"),
        ([1, 2, 3, 4], [1, 2, math.inf, 4], 0.05, "finite"),
        ([1, 2, 3, 4], [1, 2, 3, 4], 0.5, "expected a level"),
    ],
)
def test_what_is_no_pair_of_rows_is_refused(x, y, level, match):
    with pytest.raises(ValueError, match=match):
        spearman(x, y, level=level)


@pytest.mark.parametrize(("n", "rho"), [(12, 0.0), (12, 0.6), (30, 0.0), (30, 0.8)])
def test_each_bound_misses_about_as_often_as_it_says(n, rho):
    # Bivariate normal: the population's Spearman coefficient is 6 / pi * asin(rho / 2).
    rng, runs = np.random.default_rng(0), 2000
    truth = 6 / math.pi * math.asin(rho / 2)
    x = rng.normal(size=(runs, n))
    y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(runs, n))
    found = [spearman(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    for misses in (sum(one.low > truth for one in found), sum(one.high < truth for one in found)):
        assert misses / runs <= 0.075
    assert sum(not one.low <= truth <= one.high for one in found) / runs >= 0.05


def test_needs_no_torch_and_no_scipy_stats():
    code = "import sys\nfrom adversaries.statistics.rank_correlation import spearman\n"
    code += "spearman([1, 2, 3, 4], [1, 3, 2, 4])\n"
    code += "assert not {'torch', 'scipy.stats'} & set(sys.modules), sorted(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
