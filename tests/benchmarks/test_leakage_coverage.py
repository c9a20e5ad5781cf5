"""The simulation of coverage against counting by hand and against the bounds themselves."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from adversaries.statistics import intervals
from benchmarks import leakage_coverage
from benchmarks.leakage_coverage import Cell

COUNTS = np.array([[2, 1, 0, 1, 1, 1, 0, 0], [1, 2, 1, 0, 1, 0, 1, 0]])


@pytest.mark.parametrize("truth", [Fraction(0), Fraction(1, 2), Fraction(3, 10), Fraction(-1, 4), Fraction(1)])
def test_the_share_of_replicas_below_a_truth_is_exact(truth):
    middle, equal = leakage_coverage.below_truth(COUNTS, truth)
    for row, counts in enumerate(COUNTS):
        below = same = 0.0
        alive = np.flatnonzero(counts)
        for drawn in itertools.product(range(7), repeat=len(alive)):
            if sum(drawn) != 6:
                continue
            ways = math.factorial(6) // math.prod(map(math.factorial, drawn))
            chance = ways * math.prod((counts[alive] / 6) ** drawn)
            hits = np.array(drawn) @ intervals.PATTERNS[alive]
            total = round((hits[0] - hits[1]) * truth.denominator - (hits[2] - hits[1]) * truth.numerator)
            below += chance * (total < 0)
            same += chance * (total == 0)
        assert middle[row] == pytest.approx(below + same / 2, abs=1e-9)
        assert equal[row] == pytest.approx(same, abs=1e-9)


@pytest.mark.parametrize("counts", [[30, 40, 5, 30, 25, 60, 6, 4], [800, 100, 60, 40, 100, 600, 100, 200]])
def test_the_share_of_replicas_below_the_estimate(counts):
    counts = np.array(counts)
    value = intervals.leakage_of(counts @ intervals.PATTERNS)
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), size=100_000)
    replicas = intervals.leakage_of(drawn @ intervals.PATTERNS)
    seen = ((replicas < value).mean() + (replicas <= value).mean()) / 2
    assert leakage_coverage.below_estimate(counts[None])[0] == pytest.approx(seen, abs=0.006)


@pytest.mark.parametrize("cell", [Cell(100, 0.1, 0.9, Fraction(1, 2), 0.0), Cell(500, 0.1, 0.2, Fraction(1, 20), 0.5)])
def test_as_many_misses_as_the_bounds_themselves(cell):
    generator, runs = np.random.default_rng(1), 300
    truth, found = float(cell.truth), np.zeros(2)
    for seed, counts in enumerate(generator.multinomial(cell.n, leakage_coverage.joint(cell), size=runs)):
        hits = counts @ intervals.PATTERNS
        if intervals.clopper_pearson(hits[2], cell.n, 0.05)[0] > intervals.clopper_pearson(hits[1], cell.n, 0.05)[1]:
            _, low, high = intervals.leakage_bounds(counts, 0.05, seed)
            found += (low > truth + 1e-9, high < truth - 1e-9)
    fast = np.array(leakage_coverage.misses(cell, 20_000, 0.05, generator)) / 20_000
    assert found / runs == pytest.approx(fast, abs=4 * math.sqrt(0.05 * 0.95 / runs))


def test_cells_have_the_rates_that_they_name():
    cells = list(leakage_coverage.cells())
    assert {cell.n for cell in cells} == {100, 500, 2000}
    assert any(cell.attack < 1e-9 < cell.floor for cell in cells)
    for cell in cells[:: len(cells) // 50]:
        rates = leakage_coverage.joint(cell) @ intervals.PATTERNS
        assert rates == pytest.approx((cell.attack, cell.floor, cell.ceiling), abs=1e-9)
