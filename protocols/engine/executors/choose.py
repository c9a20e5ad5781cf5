"""Which executor a run gets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from adversaries.registries import ADVERSARIES
from protocols.engine.executors.base import Executor, Job, Jobs, LocalExecutor, Result
from protocols.engine.executors.cluster import RayExecutor
from protocols.engine.executors.processes import ProcessExecutor, available_memory, warm_up
from protocols.engine.settings import EXECUTORS, Settings
from vfc.errors import unknown

PATIENCE = 10.0
"""Seconds of work after which it is no small work: as much as processes take to start and to warm up."""

LARGE = 32_000_000
"""Bytes that a job reads from which on it is no small one, whatever others took before it."""


class AutoExecutor:
    """Small work is done in this process, where it costs least; what turns out long goes on in worker processes.

    Large data, and code of the user's own, go there at once.

    Args:
        processes: does what is not small.
        patience: seconds of work that count as small.
    """

    def __init__(self, processes: ProcessExecutor, patience: float = PATIENCE) -> None:
        self.processes, self.patience = processes, patience
        self._spent = 0.0

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:
        """Yield results as they come."""
        here = LocalExecutor()
        for position, arguments in enumerate(jobs):
            if self._spent > self.patience or any(map(_belongs_apart, arguments)):
                for further, result in self.processes.run(function, jobs[position:]):
                    yield position + further, result
                return
            if self._spent > self.patience / 2:
                warm_up()  # while this process works
            begun = time.monotonic()
            ((_, result),) = here.run(function, [arguments])
            self._spent += time.monotonic() - begun
            yield position, result

    def close(self) -> None:
        """Kill the workers, if there are any."""
        self.processes.close()


def _belongs_apart(argument: Any) -> bool:
    """Whether a job's argument says that it is large, or that it runs code of the user's own."""
    if getattr(argument, "size", 0) > LARGE or getattr(argument, "foreign", False):
        return True
    name = getattr(argument, "adversary", "")
    return name in ADVERSARIES.cards and not ADVERSARIES.get(name).__module__.startswith("adversaries.")


def workers_of(settings: Settings, device: str) -> int:
    """How many jobs are done at a time on this machine."""
    if settings.executor == "local" or device != "cpu":
        return 1
    return settings.workers or max(1, (os.cpu_count() or 1) // settings.threads)


def make_room(executor: Executor, need: int) -> int | None:
    """Let no more jobs be done at a time than there is memory for; how many, if that is fewer than before.

    Args:
        executor: who does them; what Ray or this process alone does stays as it is.
        need: bytes of one job at its worst.
    """
    processes = executor.processes if isinstance(executor, AutoExecutor) else executor
    free = available_memory()
    if not isinstance(processes, ProcessExecutor) or free is None:
        return None
    room = max(1, min(processes.workers, free // need))
    fewer = room < processes.workers
    processes.workers = room
    return room if fewer else None


def make_executor(settings: Settings, device: str) -> Executor:
    """The executor that settings ask for; an accelerator of this machine is used from this process alone.

    Raises:
        UserError: there is no such executor, or none here.
    """
    name, threads = settings.executor, settings.threads
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if name == "ray":
        return RayExecutor(
            threads, device, address=settings.ray_address, workers=settings.workers, limit=settings.job_limit
        )
    count = workers_of(settings, device)
    if count == 1:
        return LocalExecutor()
    processes = ProcessExecutor(count, threads, settings.job_limit)
    return AutoExecutor(processes) if name == "auto" else processes
