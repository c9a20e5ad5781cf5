"""How often the bounds of leakage miss the truth, without resampling: `benchmarks/coverage.py` runs this.

Whether a bootstrap bound misses is decided by two counts alone: how many of its replicas lie below the estimate, and
how many below the truth. Both are binomial, with probabilities that follow exactly from the observed pattern counts:
a replica is at most t where the sum over its targets of (attack - floor) - t (ceiling - floor) is at most 0, and the
distribution of that sum is a Fourier integral. So the two counts are drawn instead of the replicas: a thousand times
faster, equal in distribution (`tests/benchmarks/test_leakage_coverage.py` holds it against `intervals.leakage_bounds`).
Everything else, the fallback and the corrected levels, is the code of `adversaries.statistics.intervals` itself.

Letters: s simulated evaluations, q the truth's denominator, u frequencies, t a leakage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from adversaries.statistics import intervals

SIZES = (100, 500, 2000)
PAIRS = (
    (0.0, 0.02), (0.0, 0.2), (0.0, 0.95), (0.01, 0.21), (0.1, 0.2), (0.1, 0.5), (0.1, 0.9), (0.1, 1.0),
    (0.5, 0.6), (0.5, 0.75), (0.5, 1.0), (0.8, 0.96), (0.8, 1.0),
)  # fmt: skip
"""Rates of floor and ceiling."""

TRUTHS = (0.0, 0.05, 0.1, 0.5, 0.95, 1.0, 1.1)
"""Leakages; an attack that never hits and one that always hits are added."""

DEPENDENCE = (-0.95, -0.5, 0.0, 0.5, 0.8, 0.98, 1.0)
"""How the attack depends on the ceiling (> 0) or on the floor (< 0)."""

_FINEST = 40
"""Largest denominator of a truth, so that the integral stays short."""

_BLOCK = 2_000_000
"""Complex numbers held at a time."""


_ABOVE = intervals.PATTERNS[:, 0] - intervals.PATTERNS[:, 1]
_SPAN = intervals.PATTERNS[:, 2] - intervals.PATTERNS[:, 1]
"""What one target of each pattern adds to attack - floor, and to ceiling - floor."""


class Cell(NamedTuple):
    """One truth: sizes, rates, leakage as a fraction, and the dependence of the attack."""

    n: int
    floor: float
    ceiling: float
    truth: Fraction
    dependence: float

    @property
    def attack(self) -> float:
        """The attack's rate."""
        return self.floor + float(self.truth) * (self.ceiling - self.floor)


def cells() -> Iterator[Cell]:
    """The whole grid."""
    for n, (floor, ceiling) in itertools.product(SIZES, PAIRS):
        span = Fraction(str(ceiling)) - Fraction(str(floor))
        ends = (-Fraction(str(floor)) / span, (1 - Fraction(str(floor))) / span)
        truths = {*ends, *(Fraction(str(truth)) for truth in TRUTHS)}
        for truth, dependence in itertools.product(sorted(truths), DEPENDENCE):
            cell = Cell(n, floor, ceiling, truth, dependence)
            rate = ceiling if dependence >= 0 else floor
            certain = min(rate, 1 - rate, cell.attack, 1 - cell.attack) < 1e-9
            possible = -1e-9 <= cell.attack <= 1 + 1e-9 and truth.denominator <= _FINEST
            if possible and not (certain and dependence):
                yield cell


def joint(cell: Cell) -> np.ndarray:
    """Probabilities of the 8 patterns (attack, floor, ceiling)."""
    attack, floor, ceiling = min(1.0, max(0.0, cell.attack)), cell.floor, cell.ceiling
    found = np.zeros(8)
    with_floor = both_hit(ceiling, floor, 0.3)
    for code in range(8):
        hit_attack, hit_floor, hit_ceiling = code >> 2 & 1, code >> 1 & 1, code & 1
        rate = floor if hit_floor else 1 - floor
        given = (with_floor if hit_floor else ceiling - with_floor) / rate if rate else 0.0
        base = rate * (given if hit_ceiling else 1 - given)
        hit, other = (hit_ceiling, ceiling) if cell.dependence >= 0 else (hit_floor, floor)
        both = both_hit(attack, other, abs(cell.dependence))
        share = other if hit else 1 - other
        chance = (both if hit else attack - both) / share if share > 1e-12 else 0.0
        found[code] = base * (chance if hit_attack else 1 - chance)
    found = np.clip(found, 0, 1)
    return found / found.sum()


def both_hit(one: float, other: float, dependence: float) -> float:
    """P[both hit]: 0 is independence, 1 the most that the two rates allow, -1 the least."""
    end = min(one, other) if dependence >= 0 else max(0.0, one + other - 1)
    return one * other + abs(dependence) * (end - one * other)


def misses(cell: Cell, runs: int, alpha: float, generator: np.random.Generator) -> tuple[int, int]:
    """How many lower and upper bounds miss, among all runs: where leakage is unknown a gate is inconclusive."""
    drawn = generator.multinomial(cell.n, joint(cell), size=runs)
    hits = drawn @ intervals.PATTERNS
    ceiling, floor = (intervals.clopper_pearson(hits[:, column], cell.n, 0.05) for column in (2, 1))
    known = ceiling[0] > floor[1]
    counts, which = np.unique(drawn[known], axis=0, return_inverse=True)
    if not len(counts):
        return 0, 0
    low, high = _fallback_misses(counts, cell.truth, alpha)
    bootstrapped = intervals.bootstrap_knows(counts, alpha)
    found = [low[which], high[which]]
    again = bootstrapped[which]
    if bootstrapped.any():
        place = np.cumsum(bootstrapped) - 1
        missed = _bootstrap_misses(counts[bootstrapped], place[which[again]], cell.truth, alpha, generator)
        for side, more in zip(found, missed, strict=True):
            side[again] = more
    return int(found[0].sum()), int(found[1].sum())


def _fallback_misses(counts: np.ndarray, truth: Fraction, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether the fallback's bounds miss, for every row of counts."""
    low, high = intervals.exact_leakage(counts, alpha)
    value, exact = intervals.leakage_of(counts @ intervals.PATTERNS), float(truth)
    return np.minimum(low, value) > exact + 1e-9, np.maximum(high, value) < exact - 1e-9


def _bootstrap_misses(
    counts: np.ndarray, which: np.ndarray, truth: Fraction, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the bootstrap's bounds miss, once for every entry of `which`, which names a row of counts."""
    resamples, value = intervals.bootstrap_size(alpha), intervals.leakage_of(counts @ intervals.PATTERNS)
    below_value = below_estimate(counts)[which]
    middle, equal = below_truth(counts, truth)
    missed = []
    for side in (0, 1):
        # Replicas that equal the truth speak against neither bound.
        below = np.clip(middle + (0.5 - side) * equal, 0, 1)[which]
        first, both = np.minimum(below, below_value), np.maximum(below, below_value)
        least = generator.binomial(resamples, first)
        rest = np.divide(both - first, 1 - first, out=np.zeros_like(first), where=first < 1)
        most = least + generator.binomial(resamples - least, np.clip(rest, 0, 1))
        at_truth, at_value = np.where(below <= below_value, (least, most), (most, least))
        levels = np.concatenate(
            [
                intervals.bca_levels(counts[which[block]], at_value[block] / resamples, alpha)[:, side]
                for block in np.array_split(np.arange(len(which)), 1 + len(which) // 20_000)
            ]
        )
        position = levels * (resamples - 1)
        if side == 0:
            missed.append((position > at_truth - 0.5) & (value[which] > float(truth) + 1e-9))
        else:
            missed.append((position < at_truth - 0.5) & (value[which] < float(truth) - 1e-9))
    return missed[0], missed[1]


def below_estimate(counts: np.ndarray) -> np.ndarray:
    """Probability that a replica lies below the estimate, with half of that of equality."""
    value = intervals.leakage_of(counts @ intervals.PATTERNS)
    terms = _ABOVE - value[:, None] * _SPAN
    width = np.sqrt((counts * terms**2).sum(axis=1))
    # The sum has mean 0 here; its transform is nearly normal and has vanished at 8 of its own widths.
    steps = (np.arange(32) + 0.5) * 0.25
    total = np.zeros(len(counts))
    n = counts.sum(axis=1)
    for step in steps:
        turned = (counts * np.exp(1j * step / width[:, None] * terms)).sum(axis=1) / n
        total += (turned**n).imag / step
    return np.asarray(0.5 - 0.25 / math.pi * total)


def below_truth(counts: np.ndarray, truth: Fraction) -> tuple[np.ndarray, np.ndarray]:
    """Probability that a replica lies below the truth, with half of that of equality; and that of equality."""
    terms, q = _ABOVE - float(truth) * _SPAN, truth.denominator
    n = int(counts[0].sum())
    shares = counts / n
    mean = shares @ terms
    width = math.sqrt(float((n * (shares @ terms**2 - mean**2)).max()))
    period = 2 * (float(np.abs(n * mean).max()) + 9 * width)
    steps = math.ceil(math.pi * q / (2 * math.pi / period))
    u = (np.arange(steps) + 0.5) * math.pi * q / steps
    turns = np.exp(1j * np.outer(terms, u))
    # Frequencies at which the transform vanishes for all counts like these are left out.
    with np.errstate(divide="ignore"):
        alive = n * np.log(np.abs(shares.mean(axis=0) @ turns)) > -100
    u, turns = u[alive], turns[:, alive]
    middle, equal = np.empty(len(counts)), np.empty(len(counts))
    weights = 1 / (2 * q) / np.tan(u / (2 * q))
    for rows in np.array_split(np.arange(len(counts)), 1 + len(counts) * len(u) // _BLOCK):
        transform = (shares[rows] @ turns) ** n
        middle[rows] = 0.5 - transform.imag @ weights * q / steps
        equal[rows] = transform.real.sum(axis=1) / steps
    return middle, np.clip(equal, 0, 1)
