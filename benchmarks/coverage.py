"""How often do the bounds miss the truth? Simulates suppression ratios and leakage over a grid of truths.

    python benchmarks/coverage.py [--ratios 20000] [--leakage 1000] [--alpha 0.05]

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

from adversaries import ratios

SIZES = (100, 500, 2000)
FLOORS = (0.0, 0.01, 0.1, 0.5)
TARGETS = (0.05, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)
ATTACKS = (0.0, 0.002, 0.01, 0.05, 0.1, 0.13, 0.2, 0.5, 0.55, 0.7, 0.9, 0.98, None)
DEPENDENCE = (-0.5, 0.0, 0.5, 0.9, 1.0)


def both_hit(one: float, other: float, dependence: float) -> float:
    """P[both hit]: 0 is independence, 1 the most that the two rates allow, -1 the least."""
    end = min(one, other) if dependence >= 0 else max(0.0, one + other - 1)
    return one * other + abs(dependence) * (end - one * other)


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
    bounds = ratios.ratio_bounds(*tables.T, hits, alpha)
    truth = target / max(attack, hits / n)
    return int(times[bounds.low > truth * (1 + 1e-9)].sum()), int(times[bounds.high < truth * (1 - 1e-9)].sum())


def leakage_cells() -> Iterator[tuple[int, float, float, float, float]]:
    """Sizes, rates of floor and ceiling, true leakage, and how the attack depends on ceiling (> 0) or floor (< 0)."""
    pairs = ((0.1, 0.95), (0.5, 0.7), (0.1, 0.2), (0.8, 0.98))
    for n, (floor, ceiling), truth, dependence in itertools.product(
        SIZES, pairs, (0.0, 0.1, 0.5, 0.97, 1.0), (-0.95, 0.0, 0.8, 0.98)
    ):
        yield n, floor, ceiling, truth, dependence


def leakage_joint(floor: float, ceiling: float, truth: float, dependence: float) -> np.ndarray:
    """Probabilities of the 8 patterns (attack, floor, ceiling)."""
    attack = floor + truth * (ceiling - floor)
    joint = np.zeros(8)
    with_floor = both_hit(ceiling, floor, 0.3)
    for code in range(8):
        hit_attack, hit_floor, hit_ceiling = code >> 2 & 1, code >> 1 & 1, code & 1
        given = with_floor / floor if hit_floor else (ceiling - with_floor) / (1 - floor)
        base = (floor if hit_floor else 1 - floor) * (given if hit_ceiling else 1 - given)
        hit, rate = (hit_ceiling, ceiling) if dependence >= 0 else (hit_floor, floor)
        both = both_hit(attack, rate, abs(dependence))
        chance = both / rate if hit else (attack - both) / (1 - rate)
        joint[code] = base * (chance if hit_attack else 1 - chance)
    return np.clip(joint, 0, 1) / joint.sum()


def leakage_misses(
    cell: tuple[int, float, float, float, float], runs: int, alpha: float, generator: np.random.Generator
) -> tuple[int, int]:
    """How many lower and upper bounds miss the leakage, among all runs; runs where it is unknown miss nothing."""
    n, floor, ceiling, _, dependence = cell
    joint = leakage_joint(floor, ceiling, cell[3], dependence)
    rates = joint @ ratios.PATTERNS
    truth = (rates[0] - rates[1]) / (rates[2] - rates[1])
    low = high = 0
    for seed, counts in enumerate(generator.multinomial(n, joint, size=runs)):
        hits = counts @ ratios.PATTERNS
        if ratios.clopper_pearson(hits[2], n, 0.05)[0] > ratios.clopper_pearson(hits[1], n, 0.05)[1]:
            _, below, above = ratios.leakage_bounds(counts, alpha, seed)
            low, high = low + (below > truth + 1e-9), high + (above < truth - 1e-9)
    return low, high


def sure(misses: int, runs: int) -> float:
    """The 99 % lower bound of a miss rate."""
    return float(ratios.clopper_pearson(misses, runs, 0.01)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratios", type=int, default=20_000)
    parser.add_argument("--leakage", type=int, default=1000)
    parser.add_argument("--alpha", type=float, default=0.05)
    asked = parser.parse_args()
    for name, cells, misses, runs in (
        ("suppression", list(ratio_cells()), ratio_misses, asked.ratios),
        ("leakage", list(leakage_cells()), leakage_misses, asked.leakage),
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
