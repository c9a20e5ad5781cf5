"""Where tasks are done: finished ones are read back, the others run on an executor and are kept the moment they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from protocols.engine.cache import touch
from protocols.engine.executors.base import Executor, StoppedError, WorkerDiedError
from protocols.engine.executors.processes import give_back
from protocols.engine.handles import EvaluationHandle
from protocols.engine.progress import Reporter
from protocols.engine.task import Outcome, Task, load_outcome
from protocols.engine.training_jobs import run_task
from vfc.errors import HeldElsewhereError


class QueuedTask(NamedTuple):
    """A task, where its data are, in which folder its result is kept, and how progress calls it."""

    task: Task
    place: EvaluationHandle
    folder: Path
    title: str


@dataclass(frozen=True, kw_only=True)
class TaskRunner:
    """Does tasks.

    Args:
        code: digest of code and versions, part of the names of results.
        executor, reporter: who runs the tasks and who tells.
    """

    code: str
    executor: Executor
    reporter: Reporter

    def run(self, stage: str, orders: Sequence[QueuedTask]) -> list[Outcome]:
        """The outcome of every order, in their order; whatever is not there yet runs in the order given.

        Raises:
            UserError: the disk is full, or something else that the user must change; what is finished stays.
        """
        paths = [order.folder / f"{order.task.key(self.code)}.safetensors" for order in orders]
        damaged: list[Path] = []
        outcomes = [load_outcome(path, damaged.append) for path in paths]
        if damaged:
            count = f"{len(set(damaged))} finished task{'s' * (len(set(damaged)) > 1)}"
            self.reporter.note(f"{stage}: {count} in {damaged[0].parent} damaged or of another run, done again")
        missing = [position for position, found in enumerate(outcomes) if found is None]
        for path, found in zip(paths, outcomes, strict=True):
            if found is not None:
                touch(path)
        if orders and len(missing) < len(orders):
            self.reporter.note(f"{stage}: resumed {len(orders) - len(missing)} of {len(orders)}")
        if self.reporter.whole is not None:
            self.reporter.whole.skip(len(orders) - len(missing))
        jobs = [(orders[i].task, orders[i].place, paths[i]) for i in missing]
        give_back()  # what preparing took, workers can use
        with self.reporter.stage(stage, len(jobs), fits=True) as progress:
            for turn, result in self.executor.run(run_task, jobs):
                position = missing[turn]
                if isinstance(result, HeldElsewhereError):
                    result = run_task(*jobs[turn])
                if isinstance(result, Exception):
                    if not isinstance(result, WorkerDiedError | StoppedError):
                        raise result
                    result = Outcome.empty("not_run" if isinstance(result, StoppedError) else "failed", str(result))
                outcomes[position] = result
                progress.advance(f"{orders[position].title}: {result.status}")
        return [outcome for outcome in outcomes if outcome is not None]
