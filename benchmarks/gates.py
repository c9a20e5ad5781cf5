"""How often is a gate held against the truth, or broken with the truth at the limit, when many adversaries compete?

    python -m benchmarks.gates [--runs 400] [--seed 0] [--out FILE]

Each run draws right and wrong guesses of 2, 9 or 30 adversaries on a validation part and on target images, lets the
leaderboard choose as a real run does, and judges two gates: one whose limit the truth violates by the smallest amount
("held" is then a false word), and one whose limit is the truth itself ("broken" is then false). The strongest adversary
is at the truth; its rivals are at .10 to .17, or just below it. A cell is bad if the 99 % lower bound of a rate of
false words exceeds 5 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from adversaries.evidence import Value
from adversaries.statistics import intervals
from protocols.engine.prepared import TargetRows
from protocols.engine.task import Outcome, label_arrays
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.leaderboard import Leaderboard
from protocols.evaluation.metrics import LabelMetrics, LabelsNeeded
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.evaluation.statistic import Statistic
from reports.gate.gate import Gate, judge
from reports.model.report import Command, Dataset, ReleaseFacts, Report, TargetFacts, Tool

Rows = NDArray[np.uint8]
FLOOR, TRUTH, VALIDATION = 0.1, 0.17, 150
COST = {"seconds": 0.0, "gradient_steps": 0, "queries": 0, "peak_bytes": 0}
SIZES, CANDIDATES, CORRELATIONS = (100, 450, 2000), (2, 9, 30), (0.0, 0.8)
CEILING, TARGET = 0.95, 0.9
NUDGE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of the simulation.

    Args:
        metric: accuracy, ratio, leakage, labels, or draws (accuracy as a mean over three draws of labels).
        candidates: how many adversaries compete.
        n: target images.
        correlation: of what two adversaries get right.
        target: accuracy of the target model.
    """

    metric: str
    candidates: int
    n: int
    correlation: float
    target: float = TARGET


def cells() -> Iterator[Cell]:
    """All settings; leakage, which is bootstrapped, and draws at the middle size only."""
    for count, n, correlation in itertools.product(CANDIDATES, SIZES, CORRELATIONS):
        for metric in ("accuracy", "ratio"):
            yield Cell(metric=metric, candidates=count, n=n, correlation=correlation)
    for count, correlation in itertools.product(CANDIDATES, CORRELATIONS):
        for metric in ("leakage", "draws"):
            yield Cell(metric=metric, candidates=count, n=450, correlation=correlation)
    for count, n, target in itertools.product(CANDIDATES, SIZES, (0.3, 0.6, 0.97)):
        yield Cell(metric="labels", candidates=count, n=n, correlation=0.8, target=target)


def hits(rates: Sequence[float], n: int, correlation: float, generator: np.random.Generator) -> Rows:
    """Right and wrong, one row per adversary, with those rates and a common difficulty of every image."""
    common, own = generator.standard_normal(n), generator.standard_normal((len(rates), n))
    latent = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    return (latent < ndtri(np.clip(rates, 1e-12, 1 - 1e-12))[:, None]).astype(np.uint8)


def rivals(count: int, truth: float, generator: np.random.Generator) -> list[float]:
    """The truth and rates of rivals below it: half of them just below, half at .10 to .17 of the way."""
    below = [truth - 0.005 if turn % 2 else truth * generator.uniform(0.6, 1.0) for turn in range(count - 1)]
    return [truth, *below]


def board(cell: Cell, grid: tuple[int | str, ...], floor: Rows, draws: int = 0) -> Leaderboard:
    """An empty leaderboard of that many adversaries."""
    competitors = [Competitor(candidate=Candidate(adversary=f"a{i}"), level="L2") for i in range(cell.candidates)]
    results = Results(competitors=competitors, seeds=(0,), grid=grid, draws=draws)
    return Leaderboard(results=results, statistic=Statistic(goal="task:y", floor=floor, needs_learners=True))


def enter(found: Leaderboard, labels: int | str, arm: str, rows: Rows, validation: Rows, draw: int = 0) -> None:
    """Write down what everybody did."""
    for position, (mine, held) in enumerate(zip(rows, validation, strict=True)):
        outcome = Outcome(status="measured", arrays=label_arrays(held, mine, FLOOR), flags=(), cost=COST)
        found.results.outcomes[Trial(Attempt(position, labels), arm, 0, False, draw)] = outcome  # type: ignore[arg-type]


def measured(cell: Cell, generator: np.random.Generator) -> tuple[Value, float, str]:
    """The metric of one run, its truth, and the operator of a gate on it."""
    floor = hits([FLOOR], cell.n, 0.0, generator)[0]
    target = hits([cell.target], cell.n, 0.0, generator)[0]

    def drawn(rates: Sequence[float], n: int) -> Rows:
        return hits(rates, n, cell.correlation, generator)

    if cell.metric == "labels":
        return _labels(cell, drawn, floor, target)
    grid: tuple[int | str, ...] = (1, "all") if cell.metric == "draws" else ("all",)
    draws = 3 if cell.metric == "draws" else 0
    found = board(cell, grid, floor, draws)
    rates = rivals(cell.candidates, TRUTH, generator)
    silent = drawn([FLOOR] * cell.candidates, VALIDATION), drawn([FLOOR / 2] * cell.candidates, cell.n)
    for labels in grid:
        enter(found, labels, "attack", drawn(rates, cell.n), drawn(rates, VALIDATION))
        enter(found, labels, "ceiling", drawn([CEILING] * cell.candidates, cell.n), silent[0])
        enter(found, labels, "shuffled", silent[1], silent[0])
    for draw in range(draws):
        # What a set of labels brings differs; everybody is granted the same set.
        luck = generator.normal(0, 0.03)
        shifted = np.clip(np.array(rates) + luck, 0.001, 0.999)
        enter(found, 1, "attack", drawn(shifted, cell.n), drawn(shifted, VALIDATION), draw)
    numbers = LabelMetrics(board=found, target=TargetRows(release=target), per_class=60, rows={})
    attempts = found.results.attempts(grid[0])
    if cell.metric == "ratio":
        return numbers.suppression(attempts), cell.target / TRUTH, ">="
    if cell.metric == "leakage":
        value = numbers.leakage("x", attempts)
        return value, (TRUTH - FLOOR) / (CEILING - FLOOR), "<="
    return numbers.accuracy(attempts), TRUTH, "<="


def _labels(
    cell: Cell, drawn: Callable[[Sequence[float], int], Rows], floor: Rows, target: Rows
) -> tuple[Value, float, str]:
    """Labels that go half of the way: at K = 5 and 10 the strongest is exactly there."""
    goal = FLOOR + 0.5 * (cell.target - FLOOR)
    grid: tuple[int | str, ...] = (1, 5, 10, 50, "all")
    found = board(cell, grid, floor)
    for labels, share in zip(grid, (1.0, 1.0, 1.0, 1.6, 1.8), strict=True):
        best = FLOOR + share * (goal - FLOOR)
        rates = [best, *[best - 0.005 * (1 + turn % 3) for turn in range(cell.candidates - 1)]]
        enter(found, labels, "attack", drawn(rates, cell.n), drawn(rates, VALIDATION))
        enter(found, labels, "shuffled", drawn([FLOOR / 2] * cell.candidates, cell.n), drawn(rates, VALIDATION))
    numbers = LabelMetrics(board=found, target=TargetRows(release=target), per_class=60, rows={})
    curve = {labels: found.results.attempts(labels) for labels in grid}
    return LabelsNeeded(numbers=numbers, curve=curve).reaching(0.5), 1.0, ">="


NAMES = {
    "accuracy": "adaptive.accuracy",
    "draws": "adaptive.accuracy@1",
    "ratio": "adaptive.suppression_ratio",
    "leakage": "adaptive.leakage",
    "labels": "adaptive.labels_to_half",
}


def outcome(cell: Cell, value: Value, number: float, operator: str) -> str:
    """What one gate says; flags are not what is simulated."""
    bare = value.model_copy(update={"flags": ()})
    report = _report(NAMES[cell.metric], bare)
    (result,) = judge(report, [Gate(metric=NAMES[cell.metric], operator=operator, number=number, text="gate")])  # type: ignore[arg-type]
    return result.outcome


def _report(name: str, value: Value) -> Report:
    nothing = Value.unknown("simulated")
    return Report(
        tool=Tool(name="simulation", version="0"),
        command=Command(),
        dataset=Dataset(name="simulated", digest="", task="y", classes={"y": 10}, split="halves", parts={}),
        release=ReleaseFacts(kind="simulated", name="simulated", digest="", shape=(1,), dtype="float32"),
        target=TargetFacts(accuracy=nothing, clean_accuracy=nothing),
        metrics={name: value},
        verdict="measured",
    )


def simulate(cell: Cell, runs: int, generator: np.random.Generator) -> dict[str, object]:
    """How many of some runs hold against the truth, and break with the truth at the limit."""
    held = broken = 0
    for _ in range(runs):
        value, truth, operator = measured(cell, generator)
        if cell.metric == "labels":
            # The goal is just reached at K = 1, so that more is asked in vain; or just not before K = 50.
            held += outcome(cell, value, 2, operator) == "held"
            broken += outcome(cell, value, 50, operator) == "broken"
            continue
        wrong = truth * (1 + NUDGE) if operator == ">=" else truth * (1 - NUDGE)
        held += outcome(cell, value, wrong, operator) == "held"
        broken += outcome(cell, value, truth, operator) == "broken"
    counts = {"held": held, "broken": broken}
    sure = {name: float(intervals.clopper_pearson(k, runs, 0.01)[0]) for name, k in counts.items()}
    return {
        **vars(cell),
        "runs": runs,
        **{name: count / runs for name, count in counts.items()},
        "bad": [name for name, low in sure.items() if low > 0.05],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    started, found = time.perf_counter(), []
    for position, cell in enumerate(cells()):
        generator = np.random.default_rng((options.seed, position))
        runs = options.runs if cell.candidates < CANDIDATES[-1] else options.runs // 2
        found.append(simulate(cell, runs, generator))
        print(json.dumps(found[-1]), flush=True)
    bad = [each for each in found if each["bad"]]
    print(f"{len(found)} cells, {len(bad)} bad, {time.perf_counter() - started:.0f} s")
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
