"""What all executors share, and the simplest: one job after the other in this process. Results do not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from reports.model.report import INTERRUPTED

Job = Callable[..., Any]
Result = tuple[int, Any]
"""Position of the job and what it returned, or the exception that it raised."""

Jobs = Sequence[tuple[Any, ...]]
"""The arguments of every job."""


class Executor(Protocol):
    """Runs `function(*arguments)` for many arguments, in any order."""

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:
        """Yield each job's position with its result the moment it ends."""

    def close(self) -> None:
        """Stop at once; jobs under way are lost, finished ones were saved by themselves."""


class WorkerDiedError(Exception):
    """The process that did a job is gone, twice, or was stopped because the job did not end."""


class StoppedError(Exception):
    """The run was interrupted before the job was done."""


class LocalExecutor:
    """One job after the other in this process."""

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:
        """Yield each job's position with its result."""
        for position, arguments in enumerate(jobs):
            yield position, guarded(function, arguments)

    def close(self) -> None:
        """Nothing to stop."""


class StoppedExecutor:
    """Does nothing any more: what is finished can still be told, and whatever is not is named as interrupted."""

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:  # noqa: ARG002  (as all executors)
        """Yield for each job that it was not run."""
        for position in range(len(jobs)):
            yield position, StoppedError(INTERRUPTED)

    def close(self) -> None:
        """Nothing to stop."""


def guarded(function: Job, arguments: tuple[Any, ...]) -> Any:
    """What a job returns, or what it raises but an interruption."""
    try:
        return function(*arguments)
    except SystemExit as error:
        return RuntimeError(f"it asked for the end of the program ({error.code})")
    except Exception as error:
        return error


def set_threads(threads: int) -> None:
    """How many threads torch computes with in this process."""
    import torch

    torch.set_num_threads(threads)
