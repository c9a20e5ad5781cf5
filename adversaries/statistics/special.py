"""Quantiles of the beta, normal and Student's t distribution, without waiting for scipy where only a few are needed.

Importing scipy.special takes longer than judging a report, so up to FEW numbers are computed here: the incomplete beta
function by its continued fraction, its inverse by Newton steps kept inside a bracket. More numbers go to scipy.special,
which is faster for them. Both agree to about 1e-10 (tests/adversaries/test_special.py).
Source: DLMF 8.17 (incomplete beta functions), https://dlmf.nist.gov/8.17; Lentz 1976, Generating Bessel functions in
Mie scattering calculations using continued fractions, Applied Optics 15.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

FEW = 64
"""Arrays of up to this size are computed one number at a time."""

_TINY = 1e-300
_NORMAL = NormalDist()


def betainc(a: Any, b: Any, x: Any) -> Numbers:
    """Regularized incomplete beta function I_x(a, b); a, b > 0 and x in [0, 1]."""
    return _each("betainc", _betainc, a, b, x)


def betaincinv(a: Any, b: Any, p: Any) -> Numbers:
    """The x in [0, 1] with I_x(a, b) = p; a, b > 0 and p in [0, 1]."""
    return _each("betaincinv", _betaincinv, a, b, p)


def ndtr(x: Any) -> Numbers:
    """Distribution function of the standard normal."""
    return _each("ndtr", _NORMAL.cdf, x)


def ndtri(p: Any) -> Numbers:
    """Quantile of the standard normal; p in (0, 1)."""
    return _each("ndtri", _NORMAL.inv_cdf, p)


def stdtrit(df: Any, p: Any) -> Numbers:
    """Quantile of Student's t with `df` > 0 degrees of freedom; p in (0, 1)."""
    return _each("stdtrit", _stdtrit, df, p)


def _each(name: str, function: Callable[..., float], *arguments: Any) -> Numbers:
    """One number at a time, or all at once by scipy.special."""
    arrays = np.broadcast_arrays(*(np.asarray(argument, dtype=np.float64) for argument in arguments))
    if arrays[0].size > FEW:
        from scipy import special

        return np.asarray(getattr(special, name)(*arrays), dtype=np.float64)
    numbers = [function(*map(float, items)) for items in zip(*(array.ravel() for array in arrays), strict=True)]
    return np.array(numbers, dtype=np.float64).reshape(arrays[0].shape)


def _betainc(a: float, b: float, x: float) -> float:
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _betainc(b, a, 1.0 - x)
    return math.exp(_log_density(a, b, x)) * x * (1 - x) / (a * _fraction(a, b, x))


def _log_density(a: float, b: float, x: float) -> float:
    beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - beta


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of DLMF 8.17.22, from the top (modified Lentz)."""
    value = front = 1.0
    back = 0.0
    for step in range(1, 100_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        back = 1 / ((1 + term * back) or _TINY)
        front = (1 + term / front) or _TINY
        value *= front * back
        if abs(front * back - 1) < 1e-15:
            break
    return value


@functools.lru_cache(maxsize=1 << 16)  # every candidate's bounds are asked for at the same few levels
def _betaincinv(a: float, b: float, p: float) -> float:
    if p <= 0 or p >= 1:
        return 0.0 if p <= 0 else 1.0
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        error = _betainc(a, b, x) - p
        low, high = (low, x) if error > 0 else (x, high)
        if error == 0 or high - low <= 1e-15 * high:
            break
        slope = math.exp(_log_density(a, b, x))
        step = x - error / slope if slope > 0 else low
        fresh = step if low < step < high else (low + high) / 2
        if abs(fresh - x) <= 1e-14 * fresh:
            return fresh
        x = fresh
    return x


def _stdtrit(df: float, p: float) -> float:
    if p == 0.5:
        return 0.0
    tail = _betaincinv(df / 2, 0.5, 2 * min(p, 1 - p))
    size = math.sqrt(df * (1 - tail) / tail)
    return size if p > 0.5 else -size
