"""Where independent jobs run: here, in local processes, or on a Ray cluster. Results do not depend on it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from os import _exit  # bound now: while the user's code runs, `os._exit` is another
from typing import Any, Protocol

from protocols.engine.settings import EXECUTORS
from vfc.errors import UserError, unknown
from vfc.isolation.guard import Limits, limits, set_limits

Job = Callable[..., Any]
Result = tuple[int, Any]
"""Position of the job and what it returned, or the exception that it raised."""

_STARTS = 4
"""How often workers are started before a run ends."""


class Executor(Protocol):
    """Runs `function(*arguments)` for many arguments, in any order."""

    def run(self, function: Job, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield each job's position with its result the moment it ends."""

    def close(self) -> None:
        """Stop at once; jobs under way are lost, finished ones were saved by themselves."""


class WorkerDiedError(Exception):
    """The process that did a job is gone, twice."""


class LocalExecutor:
    """One job after the other in this process."""

    def run(self, function: Job, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield each job's position with its result."""
        for position, arguments in enumerate(jobs):
            yield position, _guarded(function, arguments)

    def close(self) -> None:
        """Nothing to stop."""


class ProcessExecutor:
    """A pool of worker processes that imported everything once.

    Args:
        workers: how many processes.
        threads: arithmetic threads in each.
    """

    def __init__(self, workers: int, threads: int) -> None:
        self.workers, self.threads = workers, threads
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def run(self, function: Job, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield results as they come; a job whose worker dies twice is reported as failed."""
        pending = dict(enumerate(jobs))
        deaths = dict.fromkeys(pending, 0)
        while pending:
            # After a death jobs go one by one, so that the culprit is known.
            careful = any(deaths[position] for position in pending)
            batch = list(pending)[:1] if careful else list(pending)
            futures = self._submitted(function, {position: pending[position] for position in batch})
            try:
                for future in concurrent.futures.as_completed(futures):
                    result = future.result()
                    position = futures[future]
                    del pending[position]
                    yield position, result
            except BrokenProcessPool:
                self.close()
                for position in batch:
                    if position in pending:
                        deaths[position] += 1
                        if deaths[position] > 1:
                            del pending[position]
                            yield position, WorkerDiedError("its worker process died twice (out of memory?)")

    def close(self) -> None:
        """Kill the workers."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):
            with contextlib.suppress(OSError):
                process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def _submitted(self, function: Job, jobs: dict[int, tuple[Any, ...]]) -> dict[concurrent.futures.Future[Any], int]:
        """The jobs under way. A fork server that died is started again.

        Raises:
            RuntimeError: there is none even so.
        """
        failed: Exception | None = None
        for turn in range(_STARTS):
            time.sleep(0.2 * turn)  # until the system knows that it is gone
            try:
                pool = self._started()
                with _without_main():
                    return {pool.submit(_in_worker, function, arguments): place for place, arguments in jobs.items()}
            except (EOFError, OSError, BrokenProcessPool) as error:
                self.close()
                failed = error
        raise RuntimeError(f"worker processes cannot be started: {failed!r}") from failed

    def _started(self) -> concurrent.futures.ProcessPoolExecutor:
        if self._pool is None:
            context = warm_up()
            self._pool = concurrent.futures.ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(self.threads, limits())
            )
        return self._pool


class RayExecutor:
    """Every job is a Ray task; the output folder must be on storage that all nodes share.

    Args:
        threads: arithmetic threads of each task.
    """

    def __init__(self, threads: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("--executor ray needs Ray", "pip install 'vfc-attack[cluster]'") from error
        self._ray, self.threads = ray, threads
        if not ray.is_initialized():
            ray.init(log_to_driver=False)

    def run(self, function: Job, jobs: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
        """Yield results as they come."""
        ray, threads, longest = self._ray, self.threads, limits()

        def run_one(arguments: tuple[Any, ...]) -> Any:
            _set_threads(threads)
            set_limits(longest)
            return _guarded(function, arguments)

        task = ray.remote(num_cpus=threads)(run_one)
        futures = {task.remote(arguments): position for position, arguments in enumerate(jobs)}
        while futures:
            (done, *_), _rest = ray.wait(list(futures))
            position = futures.pop(done)
            try:
                yield position, ray.get(done)
            except ray.exceptions.RayError as error:
                yield position, WorkerDiedError(str(error).splitlines()[-1])

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()


def make_executor(name: str, *, workers: int | None, threads: int, device: str) -> Executor:
    """The executor called `name`; an accelerator is used from this process alone."""
    if name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if name == "ray":
        return RayExecutor(threads)
    count = workers or max(1, (os.cpu_count() or 1) // threads)
    if name == "local" or device != "cpu" or count == 1:
        return LocalExecutor()
    return ProcessExecutor(count, threads)


def warm_up() -> Any:
    """Start the fork server, which imports torch while this process still does so; returns its context.

    Where there are no fork servers, the context starts every worker from scratch.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["protocols.preload"])
    forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the program that runs: workers need nothing of it, and would start a script again that has no guard."""
    own = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = own


def _guarded(function: Job, arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except SystemExit as error:
        return RuntimeError(f"it asked for the end of the program ({error.code})")
    except Exception as error:
        return error


def _in_worker(function: Job, arguments: tuple[Any, ...]) -> Any:
    """A job in a worker, which gives back memory between jobs: each needs its most for a moment only."""
    result = _guarded(function, arguments)
    give_back()
    return result


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _start_worker(threads: int, longest: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _set_threads(threads)
    set_limits(longest)


def _die_with_parent() -> None:
    """End this worker when the run that started it is gone; a killed run must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _exit(1)


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
