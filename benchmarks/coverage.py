"""How often do the bounds miss the truth? Simulates suppression ratios and leakage over a grid of truths.

    python -m benchmarks.coverage [--ratios 20000] [--leakage 20000] [--alpha 0.05]

Each cell draws that many evaluations of n targets from known joint probabilities and counts misses of the lower bound
(a false "held" of `>=`) and of the upper one (a false "held" of `<=`). A cell is bad if the 99 % lower Clopper-Pearson
bound of a miss rate exceeds alpha. With thousands of cells at nominal level, about one in a hundred is bad by luck: bad
cells are drawn again with ten times as many evaluations before they count.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

import numpy as np

from adversaries.statistics import intervals
from benchmarks import leakage_coverage
from benchmarks.leakage_coverage import both_hit

SIZES = (100, 500, 2000)
FLOORS = (0.0, 0.01, 0.1, 0.5)
TARGETS = (0.05, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)
ATTACKS = (0.0, 0.002, 0.01, 0.05, 0.1, 0.13, 0.2, 0.5, 0.55, 0.7, 0.9, 0.98, None)
DEPENDENCE = (-0.5, 0.0, 0.5, 0.9, 1.0)


def ratio_cells() -> Iterator[tuple[int, float, float, float, float]]:
    """Sizes, floors, accuracies of target and attack (None: 97 % of the target's), and dependence."""
    for n, floor, target, attack, dependence in itertools.product(SIZES, FLOORS, TARGETS, ATTACKS, DEPENDENCE):
        rate = target * 0.97 if attack is None else attack
        fixed = rate in (0.0, 1.0) or target == 1.0
        if (floor or rate) and not (fixed and dependence):
            yield n, floor, target, rate, dependence


def ratio_misses(
    cell: tuple[int, float, float, float, float], runs: int, alpha: float, generator: np.random.Generator
) -> tuple[int, int]:
    """How many lower and upper bounds miss target / max(attack, floor)."""
    n, floor, target, attack, dependence = cell
    hits, p11 = round(floor * n), both_hit(target, attack, dependence)
    joint = np.clip([p11, target - p11, attack - p11, 1 - target - attack + p11], 0, 1)
    drawn = generator.multinomial(n, joint / joint.sum(), size=runs)
    tables, times = np.unique(drawn, axis=0, return_counts=True)
    bounds = intervals.ratio_bounds(*tables.T, hits, alpha)
    truth = target / max(attack, hits / n)
    return int(times[bounds.low > truth * (1 + 1e-9)].sum()), int(times[bounds.high < truth * (1 - 1e-9)].sum())


def sure(misses: int, runs: int) -> float:
    """The 99 % lower bound of a miss rate."""
    return float(intervals.clopper_pearson(misses, runs, 0.01)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratios", type=int, default=20_000)
    parser.add_argument("--leakage", type=int, default=20_000)
    parser.add_argument("--alpha", type=float, default=0.05)
    asked = parser.parse_args()
    for name, cells, misses, runs in (
        ("suppression", list(ratio_cells()), ratio_misses, asked.ratios),
        ("leakage", list(leakage_coverage.cells()), leakage_coverage.misses, asked.leakage),
    ):
        if not runs:
            continue
        generator, started = np.random.default_rng(0), time.perf_counter()
        worst, bad = [0.0, 0.0], []
        for cell in cells:
            found, drawn = misses(cell, runs, asked.alpha, generator), runs
            if sure(max(found), drawn) > asked.alpha:
                drawn *= 10
                found = misses(cell, drawn, asked.alpha, generator)
                if sure(max(found), drawn) > asked.alpha:
                    bad.append((cell, found, drawn))
            worst = [max(old, new / drawn) for old, new in zip(worst, found, strict=True)]
        print(f"{name}: {len(cells)} cells of {runs} runs, alpha {asked.alpha}, {time.perf_counter() - started:.0f} s")
        print(f"  largest miss rate: lower bound {worst[0]:.4f}, upper bound {worst[1]:.4f}; bad cells: {len(bad)}")
        for cell, found, drawn in bad:
            print(f"  bad: {cell} missed {found} of {drawn}")


if __name__ == "__main__":
    main()
