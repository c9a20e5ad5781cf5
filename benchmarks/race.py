"""Does the race end where training everybody ends, and what does it cost? Digits, the task label.

    python -m benchmarks.race --out DIR [--releases identity,vfc] [--seeds 2] [--minutes 10]

For every release and seed each member of a family (fine-tuning and adapters, over all unintended models) is trained
with every share that a round knows, and everybody else once. The schedule of the toolkit is then run on these outcomes
as it is at `full` (one seed), `smoke` and `standard`; nothing is trained again for it. Compared are the accuracies
at each number of labels, as chosen on the attacker's validation part and graded on the targets, and the processor
seconds of the attacks, those of the race's rounds included. Ends after so many minutes with what it has; rows are
appended to DIR/race.csv, and the table is printed.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from adversaries.goals.label import TaskLabel
from protocols.engine.budget import BUDGETS, Budget, get_budget
from protocols.engine.prepare import data_of, prepare
from protocols.engine.settings import Settings
from protocols.engine.task import Outcome
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.engine.workspace import start_torch, workspace
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.results import Results, Trial
from protocols.evaluation.schedule import Choice, Schedule
from protocols.run import context_of
from protocols.task_label.candidates import ladder
from vfc.factory import resolve

RELEASES = (
    *("vfc", "identity", "gaussian-noise", "quantization", "pixel-permutation", "orthogonal-mixing", "negated"),
    *("pca", "prifu", "pure-noise"),
)
LABELS = (1, 10, "all")
SAME = 0.01
"""Accuracies that differ by no more are the same."""


@dataclass(kw_only=True)
class Memory:
    """Trials that were run, each once, with the processor seconds that it took.

    Args:
        runner: runs what is missing.
        task: from a trial to what is run for it.
    """

    runner: TaskRunner
    task: Callable[[Trial], QueuedTask]
    known: dict[Trial, tuple[Outcome, float]] = field(default_factory=dict)
    asked: set[Trial] = field(default_factory=set)

    def run(self, stage: str, trials: Sequence[Trial]) -> list[Outcome]:
        """The outcomes of some trials; those of ceilings count as known and empty, nothing here depends on them."""
        for trial in trials:
            if trial not in self.known:
                started = time.process_time()
                outcome = Outcome.empty("not_applicable", "not asked")
                if trial.arm == "attack":
                    (outcome,) = self.runner.run(stage, [self.task(trial)])
                self.known[trial] = outcome, time.process_time() - started
        self.asked |= set(trials)
        return [self.known[trial][0] for trial in trials]


def accuracies(evaluation: LabelEvaluation, memory: Memory, budget: Budget) -> tuple[dict[object, float], float]:
    """Accuracy of the chosen adversary by number of labels, and the processor seconds of the attacks."""
    old = evaluation.board.results
    bare = [replace(each, shuffles=False, trains=False) for each in old.competitors]
    results = Results(competitors=bare, seeds=old.seeds, grid=LABELS, common=old.common)
    board = replace(evaluation.board, results=results)
    own = replace(budget, labels=LABELS, doubling="none", shuffle_all=False, ceiling_everywhere=False)
    memory.asked = set()
    schedule = Schedule(
        results=results,
        budget=own,
        runner=memory,
        task=lambda t: t,
        name="race",
        board=board,
        chance=evaluation.schedule.chance,
    )  # type: ignore[arg-type]
    schedule.attack()
    schedule.control(lambda: [Choice(board=board, attempts=results.attempts(labels)) for labels in LABELS])
    found: dict[object, float] = {}
    for labels in LABELS:
        chosen = board.choose(results.attempts(labels))
        found[labels] = float("nan") if chosen is None else float(np.mean(board.rows(chosen)[0]))
    return found, sum(memory.known[trial][1] for trial in memory.asked)


def compared(release: str, seed: int, out: Path) -> Iterator[dict[str, object]]:
    """One row per number of labels for one release and seed."""
    settings = Settings(
        protocols=("adaptive-probe",), release=release, seed=seed, budget="smoke", out=str(out), executor="local",
        workers=1, verbosity=-1, fresh=True,
    )  # fmt: skip
    spec = resolve(release)
    device = start_torch(settings)
    settings, dataset, parts = data_of(settings, spec)
    with workspace(settings, out, settings.identity(), device) as place:
        prepared = prepare(settings, spec, dataset, parts, place.trainer(), place.scratch)
        context = context_of(place, prepared, threat="L2", budget=get_budget("smoke"), rows={})
        goal = TaskLabel(label=parts.task)
        evaluation = LabelEvaluation.of(context, goal, ladder(*context.models), undefended=False)
        memory = Memory(runner=context.runner, task=evaluation._task)
        runs = {name: accuracies(evaluation, memory, BUDGETS[name]) for name in ("full", "standard", "smoke")}
    for labels in LABELS:
        row: dict[str, object] = {"release": release, "seed": seed, "labels": labels}
        for name, (found, seconds) in runs.items():
            row |= {f"{name}.accuracy": round(found[labels], 4), f"{name}.seconds": round(seconds, 2)}
        yield row


def table(rows: Sequence[dict[str, object]]) -> str:
    """How often each race ended at the same accuracy, and what it cost."""
    lines = ["| race of | K | same within .01 | lower by more | higher by more | mean difference | seconds of full |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name in ("standard", "smoke"):
        for labels in LABELS:
            own = [row for row in rows if str(row["labels"]) == str(labels)]
            gaps = np.array([float(str(row[f"{name}.accuracy"])) - float(str(row["full.accuracy"])) for row in own])
            spent = [sum(float(str(row[f"{each}.seconds"])) for row in own) for each in (name, "full")]
            same = int((np.abs(gaps) <= SAME + 1e-9).sum())
            lower, higher = int((gaps < -SAME - 1e-9).sum()), int((gaps > SAME + 1e-9).sum())
            lines.append(
                f"| {name} | {labels} | {same} of {len(gaps)} | {lower} | {higher} | {gaps.mean():+.4f} | "
                f"{spent[0] / max(spent[1], 1e-9):.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--releases", default=",".join(RELEASES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    end, rows = time.monotonic() + 60 * options.minutes, list[dict[str, object]]()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for release in options.releases.split(","):
            if time.monotonic() < end:
                rows += compared(release, seed, options.out / f"{release}-{seed}")
                with (options.out / "race.csv").open("w", newline="", encoding="utf-8") as file:
                    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                    writer.writeheader()
                    writer.writerows(rows)
    print(table(rows))


if __name__ == "__main__":
    main()
