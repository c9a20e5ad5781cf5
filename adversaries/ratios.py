"""Intervals of rates, of paired ratios and of leakage, on arrays. `adversaries.stats` wraps them into `Value`s.

Imports numpy, so it is only imported when a bound must be computed. Everything broadcasts over leading axes:
`benchmarks/coverage.py` runs these very functions on 20,000 simulated evaluations at once.

Letters: n targets; n11 both hit, n10 only the numerator hits (the target model), n01 only the denominator hits (the
attack), n00 neither; f hits of the floor; alpha the one-sided level of each bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adversaries.special import betaincinv, ndtr, ndtri, stdtrit

Numbers = NDArray[np.float64]

NEAR_ONE = 1.1
"""Ratios in [1 / NEAR_ONE, NEAR_ONE] may use the log interval on the side that points away from 1."""

DISCORDANT = 10.0
"""... if n10 and n01 are each at least this number divided by alpha: 200 at the 95 % level."""

PAIRS = 60
"""The log interval is never used with fewer discordant pairs than this, nor with fewer than 1 / alpha."""

CLEAR_OF_FLOOR = 4.0
"""Standard errors by which an attack must exceed the floor before the cap's own uncertainty can be ignored."""

RARE = 40
"""Leakage falls back to Clopper-Pearson with fewer discordant pairs than this."""

RESAMPLES = 2000
"""Bootstrap resamples at the 95 % level; more for smaller alpha, so that 50 of them lie beyond each bound."""

_MOST_RESAMPLES = 100_000


class Bounds(NamedTuple):
    """An estimate with its one-sided bounds; low <= value <= high."""

    value: Numbers
    low: Numbers
    high: Numbers


def clopper_pearson(hits: Any, n: Any, alpha: float) -> tuple[Numbers, Numbers]:
    """Exact lower and upper bound of a binomial rate, each missing the truth with probability at most `alpha`.

    Source: Clopper and Pearson 1934, The use of confidence or fiducial limits, Biometrika 26.
    """
    k, total = np.broadcast_arrays(np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64))
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), total - np.maximum(k, 1) + 1, alpha), 0.0)
    most = np.minimum(k, total - 1)
    high = np.where(k < total, betaincinv(most + 1, total - most, 1 - alpha), 1.0)
    return low, high


def ratio_bounds(n11: Any, n10: Any, n01: Any, n00: Any, floor: Any, alpha: float) -> Bounds:
    """Bounds of p(numerator) / max(p(denominator), floor) from paired hits on the same n targets.

    The floor guesses the same class for everybody, so on targets whose labels are given its rate f / n is a number
    and not a random one; the truth is p10 + p11 divided by max(p01 + p11, f / n). With f = 0 the plain ratio.

    Two intervals are at hand. The paired log interval, log ratio +- z sqrt((n10 + n01 + 1) / ((n1. + 1/2)(n.1 + 1/2)))
    around log (n1. + 1/2) / (n.1 + 1/2), and Clopper-Pearson on each rate at alpha / 2 (Bonferroni), which cannot miss
    more often than alpha but is wider. Simulation (`benchmarks/coverage.py`) says where the first can be had:

    - Its bound on the side of 1 (the lower one of a ratio above 1, the upper one of a ratio below 1) does not miss more
      often than alpha, given PAIRS and 1 / alpha discordant pairs. The other bound misses up to 19 % of the time,
      because counts of rare hits and of few discordant pairs are skewed. That one falls back, except for a ratio within
      NEAR_ONE of 1 with DISCORDANT / alpha pairs of each kind.
    - Where the attack may be below the floor, the upper bound must hold against two truths, p / attack and p / floor:
      the smaller of two 95 % bounds misses up to 10 %. There too it falls back, which is Bonferroni over both. The
      lower bound is the smaller of two valid lower bounds and needs no correction.

    Returns:
        Value, low and high, each finite; where no denominator ever hit and f = 0 the value and high are infinite.
    """
    n11, n10, n01, n00, floor = (np.asarray(count, dtype=np.float64) for count in (n11, n10, n01, n00, floor))
    n = n11 + n10 + n01 + n00
    top, bottom, share = n11 + n10, n11 + n01, floor / n
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(top > 0, top / np.maximum(bottom, floor), 0.0)
        center = np.log((top + 0.5) / (bottom + 0.5))
        spread = ndtri(1 - alpha) * np.sqrt((n10 + n01 + 1) / ((top + 0.5) * (bottom + 0.5)))

        top_low, top_high = clopper_pearson(top, n, alpha / 2)
        bottom_low, bottom_high = clopper_pearson(bottom, n, alpha / 2)
        some, many = n10 + n01 >= max(PAIRS, 1 / alpha), np.minimum(n10, n01) >= DISCORDANT / alpha
        low_by_log = (some & (top >= bottom)) | (many & (top * NEAR_ONE >= bottom))
        low = np.where(low_by_log, np.exp(center - spread), top_low / bottom_high)
        low = np.minimum(low, np.where(floor > 0, clopper_pearson(top, n, alpha)[0] / share, np.inf))

        clear = bottom - floor > CLEAR_OF_FLOOR * np.sqrt(bottom * (1 - bottom / n))
        high_by_log = ((some & (top <= bottom)) | (many & (top <= NEAR_ONE * bottom))) & ((floor == 0) | clear)
        high = np.where(high_by_log, np.exp(center + spread), top_high / np.maximum(bottom_low, share))
        high = np.where(floor > 0, np.minimum(high, top_high / share), high)
    return Bounds(value, np.minimum(low, value), np.maximum(high, value))


PATTERNS = np.array([[(code >> bit) & 1 for bit in (2, 1, 0)] for code in range(8)], dtype=np.float64)
"""The 8 joint patterns of hits, one row each: attack, floor, ceiling."""


def pattern_counts(attack: Any, floor: Any, ceiling: Any) -> NDArray[np.int64]:
    """How many targets show each of the 8 joint patterns (attack, floor, ceiling), as binary numbers."""
    code = (
        4 * np.asarray(attack, dtype=np.int64)
        + 2 * np.asarray(floor, dtype=np.int64)
        + np.asarray(ceiling, dtype=np.int64)
    )
    return np.bincount(code, minlength=8).astype(np.int64)


def leakage_bounds(counts: NDArray[np.int64], alpha: float, seed: int) -> tuple[float, float, float]:
    """Bounds of (attack - floor) / (ceiling - floor) from the counts of the 8 joint patterns.

    BCa bootstrap over targets (Efron 1987, Better bootstrap confidence intervals): plain percentiles ignore the
    skewness of a ratio. Where attack and floor, attack and ceiling, or ceiling and floor differ on fewer than RARE
    targets, resamples know too little about what was not seen (an attack equal to the floor on every target would get
    a width of 0), and for alpha too small to resolve: Clopper-Pearson on the discordant rates, Bonferroni over the
    four of them. A denominator that is not clear of 0 counts as 1 / n, so that bounds stay finite.
    """
    n = int(counts.sum())
    attack, floor, ceiling = counts @ PATTERNS
    value = float((attack - floor) / (ceiling - floor))
    over_floor = _discordant(counts, 0, 1)
    short_of_ceiling = _discordant(counts, 2, 0)
    span = _discordant(counts, 2, 1)
    rare = min(sum(over_floor), sum(short_of_ceiling), sum(span)) < RARE
    if rare or 50 / alpha > _MOST_RESAMPLES:
        if sum(over_floor) <= sum(short_of_ceiling):
            low, high = _fraction(over_floor, span, n, alpha)
        else:
            low, high = (1 - bound for bound in reversed(_fraction(short_of_ceiling, span, n, alpha)))
    else:
        low, high = _bca(counts, value, alpha, seed)
    return value, min(low, value), max(high, value)


def mean_bounds(rows: Any, alpha: float) -> tuple[float, float, float]:
    """Student's t bounds of a mean over at least two targets."""
    values = np.asarray(rows, dtype=np.float64)
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, 1 - alpha) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _discordant(counts: NDArray[np.int64], first: int, second: int) -> tuple[int, int]:
    """Targets that only the first column hits, and that only the second hits."""
    one, other = PATTERNS[:, first], PATTERNS[:, second]
    return int(counts @ (one * (1 - other))), int(counts @ (other * (1 - one)))


def _fraction(above: tuple[int, int], below: tuple[int, int], n: int, alpha: float) -> tuple[float, float]:
    """Bounds of (p10 - p01) / (q10 - q01) from the four discordant counts."""
    low, high = clopper_pearson(np.array([*above, *below]), n, alpha / 4)
    least, most = low[0] - high[1], high[0] - low[1]
    narrow, wide = max(low[2] - high[3], 1 / n), max(high[2] - low[3], 1 / n)
    return float(least / (wide if least > 0 else narrow)), float(most / (narrow if most > 0 else wide))


def _bca(counts: NDArray[np.int64], value: float, alpha: float, seed: int) -> tuple[float, float]:
    """Bias-corrected accelerated bootstrap; the resampling is multinomial over the 8 patterns."""
    n = int(counts.sum())
    resamples = max(RESAMPLES, int(np.ceil(50 / alpha)))
    drawn = np.random.Generator(np.random.PCG64(seed)).multinomial(n, counts / n, size=resamples)
    replicas = np.sort(_leakage_of(drawn @ PATTERNS))
    below = np.searchsorted(replicas, value, "left") + np.searchsorted(replicas, value, "right")
    shift = ndtri(np.clip(below / (2 * resamples), 1 / resamples, 1 - 1 / resamples))
    left_out = _leakage_of(counts @ PATTERNS - PATTERNS)
    influence = (counts @ left_out) / n - left_out
    spread = float(counts @ influence**2) ** 1.5
    acceleration = float(counts @ influence**3) / (6 * spread) if spread > 0 else 0.0
    tails = shift + np.array([-1.0, 1.0]) * ndtri(1 - alpha)
    levels = ndtr(shift + tails / (1 - acceleration * tails))
    low, high = np.quantile(replicas, levels)
    return float(low), float(high)


def _leakage_of(hits: Numbers) -> Numbers:
    """Leakage from hits of attack, floor and ceiling along the last axis."""
    return np.asarray((hits[..., 0] - hits[..., 1]) / np.maximum(hits[..., 2] - hits[..., 1], 1.0))
