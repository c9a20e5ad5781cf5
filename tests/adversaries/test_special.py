"""The few-number path agrees with scipy's, and many numbers go to scipy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from adversaries.statistics import special


@given(
    st.integers(0, 20_000), st.integers(1, 20_000), st.sampled_from([1e-6, 0.0005, 0.025, 0.05, 0.5, 0.95, 0.9999])
)  # fmt: skip
@settings(max_examples=150, deadline=None, derandomize=True)
def test_beta_quantiles_are_those_of_scipy(hits, misses, p):
    a, b = hits + 1, misses
    assert special.betaincinv(a, b, p) == pytest.approx(scipy.stats.beta.ppf(p, a, b), rel=1e-9, abs=1e-300)
    x = a / (a + b) * 0.97
    assert special.betainc(a, b, x) == pytest.approx(scipy.stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-300)


@pytest.mark.parametrize("p", [1e-7, 0.001, 0.05, 0.3, 0.5, 0.8, 0.95, 0.9995])
def test_normal_and_student_quantiles_are_those_of_scipy(p):
    assert special.ndtri(p) == pytest.approx(scipy.stats.norm.ppf(p), rel=1e-12, abs=1e-15)
    assert special.ndtr(special.ndtri(p)) == pytest.approx(p, rel=1e-9)
    for df in (1, 2, 7, 449, 9_999):
        assert special.stdtrit(df, p) == pytest.approx(scipy.stats.t.ppf(p, df), rel=1e-8, abs=1e-12)


def test_ends_are_exact():
    assert special.betaincinv(3, 4, 0) == 0
    assert special.betaincinv(3, 4, 1) == 1
    assert special.betainc(3, 4, 0) == 0
    assert special.betainc(3, 4, 1) == 1


def test_many_numbers_are_what_few_are():
    a = np.arange(1, 200, dtype=float)
    many = special.betaincinv(a, 200 - a, 0.05)
    assert many == pytest.approx(np.array([float(special.betaincinv(k, 200 - k, 0.05)) for k in a]), rel=1e-10)
    assert special.betaincinv(np.ones((2, 3)), 2, 0.5).shape == (2, 3)
