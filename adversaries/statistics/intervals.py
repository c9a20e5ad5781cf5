"""Intervals of rates, of paired ratios and of leakage, on arrays. `estimates` wraps them into `Value`s.

Imports numpy, so it is only imported when a bound must be computed. Everything broadcasts over leading axes:
`benchmarks/coverage.py` runs these very functions on 20,000 simulated evaluations at once.

Letters: n targets; n11 both hit, n10 only the numerator hits (the target model), n01 only the denominator hits (the
attack), n00 neither; f hits of the floor; alpha the one-sided level of each bound.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adversaries.statistics.special import betaincinv, ndtr, ndtri, stdtrit

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

CAUTION = 0.9
"""The bootstrap's bounds are taken at this share of alpha: at alpha itself up to 5.3 % miss where 5 % may.

BCa is exact to second order only, and its replicas are random.
"""


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
    skewness of a ratio. At CAUTION times alpha. Where that cannot be trusted
    (`bootstrap_knows`), `exact_leakage`.
    """
    value = float(leakage_of(counts @ PATTERNS))
    if bootstrap_knows(counts, alpha):
        resamples = bootstrap_size(alpha)
        shares = counts / counts.sum()
        drawn = np.random.Generator(np.random.PCG64(seed)).multinomial(int(counts.sum()), shares, size=resamples)
        replicas = np.sort(leakage_of(drawn @ PATTERNS))
        below = (np.searchsorted(replicas, value, "left") + np.searchsorted(replicas, value, "right")) / 2
        low, high = np.quantile(replicas, bca_levels(counts, below / resamples, alpha))
    else:
        low, high = exact_leakage(counts, alpha)
    return value, min(float(low), value), max(float(high), value)


def bootstrap_size(alpha: float) -> int:
    """How many resamples bounds at level `alpha` take."""
    return max(RESAMPLES, int(np.ceil(50 / alpha)))


def bootstrap_knows(counts: NDArray[np.int64], alpha: float) -> NDArray[np.bool_]:
    """Whether leakage may be bootstrapped.

    Not where attack and floor, attack and ceiling, or ceiling and floor differ on fewer than RARE targets: resamples
    know too little about what was not seen (an attack equal to the floor on every target would get a width of 0). And
    not for an alpha too small to resolve.
    """
    pairs = [np.add(*_discordant(counts, first, second)) for first, second in ((0, 1), (2, 0), (2, 1))]
    known = np.minimum(np.minimum(pairs[0], pairs[1]), pairs[2]) >= RARE
    return np.asarray(known & (50 / alpha <= _MOST_RESAMPLES))


def exact_leakage(counts: NDArray[np.int64], alpha: float) -> tuple[Numbers, Numbers]:
    """Clopper-Pearson on the discordant rates, Bonferroni over the four of them.

    From the floor up or from the ceiling down, whichever differs less from the attack. A denominator that is not clear
    of 0 counts as 1 / n, so that bounds stay finite.
    """
    n = counts.sum(axis=-1)
    over_floor, short_of_ceiling = _discordant(counts, 0, 1), _discordant(counts, 2, 0)
    span = _discordant(counts, 2, 1)
    low, high = _fraction(over_floor, span, n, alpha)
    least, most = _fraction(short_of_ceiling, span, n, alpha)
    from_floor = np.add(*over_floor) <= np.add(*short_of_ceiling)
    return np.where(from_floor, low, 1 - most), np.where(from_floor, high, 1 - least)


def bca_levels(counts: NDArray[np.int64], below: Any, alpha: float) -> Numbers:
    """Which quantiles of the replicas are the bias-corrected, accelerated bounds; along a new last axis.

    Args:
        counts: of the 8 patterns along the last axis.
        below: share of replicas below the estimate, those equal to it counted half.
        alpha: one-sided level of each bound.
    """
    n, least = counts.sum(axis=-1), 1 / bootstrap_size(alpha)
    shift = ndtri(np.clip(below, least, 1 - least))
    left_out = leakage_of((counts @ PATTERNS)[..., None, :] - PATTERNS)
    influence = ((counts * left_out).sum(axis=-1) / n)[..., None] - left_out
    spread = (counts * influence**2).sum(axis=-1) ** 1.5
    acceleration = (counts * influence**3).sum(axis=-1) / (6 * np.maximum(spread, np.finfo(np.float64).tiny))
    tails = shift[..., None] + np.array([-1.0, 1.0]) * ndtri(1 - CAUTION * alpha)
    return np.asarray(ndtr(shift[..., None] + tails / (1 - acceleration[..., None] * tails)))


def leakage_of(hits: Numbers) -> Numbers:
    """Leakage from hits of attack, floor and ceiling along the last axis."""
    return np.asarray((hits[..., 0] - hits[..., 1]) / np.maximum(hits[..., 2] - hits[..., 1], 1.0))


def difference_bounds(n10: Any, n01: Any, n: Any, alpha: float) -> Bounds:
    """Bounds of p10 - p01, the difference of two rates on the same n targets, from the two discordant counts.

    Each discordant rate has its exact interval; the two are combined as squared distances from the estimate, with the
    multinomial correlation of the two (Zou and Donner 2008, Construction of confidence limits about effect measures,
    Statistics in Medicine 27). Simulated misses are at most alpha at the 95 % level.
    """
    first, second, total = np.broadcast_arrays(*(np.asarray(count, dtype=np.float64) for count in (n10, n01, n)))
    p, q = first / total, second / total
    p_low, p_high = clopper_pearson(first, total, alpha)
    q_low, q_high = clopper_pearson(second, total, alpha)
    correlation = -np.sqrt(p * q / np.maximum((1 - p) * (1 - q), np.finfo(np.float64).tiny))

    def reach(one: Any, other: Any) -> Numbers:
        return np.asarray(np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0)))

    value = p - q
    low, high = value - reach(p - p_low, q_high - q), value + reach(p_high - p, q - q_low)
    return Bounds(value, np.maximum(low, -1.0), np.minimum(high, 1.0))


def apart_bounds(hits: Any, n: Any, other_hits: Any, m: Any, alpha: float) -> Bounds:
    """Bounds of the difference of two rates on different rows, from exact intervals of both.

    The two are combined as squared distances from the estimate (Zou and Donner 2008, Construction of confidence limits
    about effect measures, Statistics in Medicine 27), without correlation since no row is in both.
    """
    first, total = (np.asarray(count, dtype=np.float64) for count in (hits, n))
    second, others = (np.asarray(count, dtype=np.float64) for count in (other_hits, m))
    p, q = first / total, second / others
    p_low, p_high = clopper_pearson(first, total, alpha)
    q_low, q_high = clopper_pearson(second, others, alpha)
    value = p - q
    low, high = value - np.hypot(p - p_low, q_high - q), value + np.hypot(p_high - p, q - q_low)
    return Bounds(value, np.maximum(low, -1.0), np.minimum(high, 1.0))


def mean_bounds(rows: Any, alpha: float) -> tuple[float, float, float]:
    """Student's t bounds of a mean over at least two targets."""
    values = np.asarray(rows, dtype=np.float64)
    mean = float(values.mean())
    half = float(stdtrit(len(values) - 1, 1 - alpha) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def _discordant(counts: NDArray[np.int64], first: int, second: int) -> tuple[Numbers, Numbers]:
    """Targets that only the first column hits, and that only the second hits."""
    one, other = PATTERNS[:, first], PATTERNS[:, second]
    return np.asarray(counts @ (one * (1 - other))), np.asarray(counts @ (other * (1 - one)))


def _fraction(
    above: tuple[Numbers, Numbers], below: tuple[Numbers, Numbers], n: Any, alpha: float
) -> tuple[Numbers, Numbers]:
    """Bounds of (p10 - p01) / (q10 - q01) from the four discordant counts."""
    low, high = clopper_pearson(np.array([*above, *below]), n, alpha / 4)
    least, most = low[0] - high[1], high[0] - low[1]
    narrow, wide = np.maximum(low[2] - high[3], 1 / n), np.maximum(high[2] - low[3], 1 / n)
    return np.asarray(least / np.where(least > 0, wide, narrow)), np.asarray(most / np.where(most > 0, narrow, wide))
