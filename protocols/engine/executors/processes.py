"""A pool of worker processes on this machine."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import forkserver
from os import _exit  # bound now: while the user's code runs, `os._exit` is another
from pathlib import Path
from typing import Any

from protocols.engine.executors.base import Job, Jobs, Result, WorkerDiedError, guarded, set_threads
from protocols.engine.settings import JOB_LIMIT
from vfc.isolation.guard import Limits, limits, set_limits

_STARTS = 4
"""How often workers are started before a run ends."""

_LOOK = 1.0
"""Seconds between two looks at jobs that may hang."""


@dataclass(kw_only=True)
class _Queue:
    """Jobs that are not done.

    Args:
        waiting: positions, in the order in which they are run.
        suspects: those under way when a worker died; they are run again alone, so that the culprit is known.
        running: what is under way, with its position and when it was begun.
        alone: whether that is a suspect.
    """

    waiting: deque[int]
    suspects: deque[int] = field(default_factory=deque)
    running: dict[Future[Any], tuple[int, float]] = field(default_factory=dict)
    alone: bool = False

    def next(self, workers: int) -> int | None:
        """The position to begin now; None to wait for what is under way."""
        if self.running and (self.suspects or self.alone):
            return None
        self.alone = bool(self.suspects)
        if self.suspects:
            return self.suspects.popleft()
        return self.waiting.popleft() if self.waiting and len(self.running) < workers else None

    def overdue(self, limit: float) -> list[int]:
        """Positions of what has been under way for longer than so many seconds."""
        return [position for position, begun in self.running.values() if time.monotonic() - begun > limit]


class ProcessExecutor:
    """A pool of worker processes that imported everything once.

    Args:
        workers: how many processes.
        threads: arithmetic threads in each.
        limit: seconds that a job may take; one that takes longer is stopped and named, and the others go on.
    """

    def __init__(self, workers: int, threads: int, limit: float = JOB_LIMIT) -> None:
        self.workers, self.threads, self.limit = workers, threads, limit
        self._pool: ProcessPoolExecutor | None = None

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:
        """Yield results as they come; a job whose worker dies twice, or that does not end, is reported as failed."""
        queue, deaths = _Queue(waiting=deque(range(len(jobs)))), [0] * len(jobs)
        while queue.waiting or queue.suspects or queue.running:
            while (position := queue.next(self.workers)) is not None:
                future = self._submitted(function, jobs[position], queue)
                queue.running[future] = (position, time.monotonic())
            patience = min(_LOOK, self.limit)
            done, _ = concurrent.futures.wait(queue.running, timeout=patience, return_when=FIRST_COMPLETED)
            broken = False
            for future in done:
                try:
                    result = future.result()
                except BrokenProcessPool:
                    broken = True
                    continue
                position, _ = queue.running.pop(future)
                yield position, result
            if broken:
                yield from self._after_a_death(queue, deaths)
            elif late := queue.overdue(self.limit):
                self._begin_again(queue, without=late)
                for position in late:
                    yield position, WorkerDiedError(f"it did not end within {self.limit:g} s and was stopped")

    def close(self) -> None:
        """Kill the workers."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        for process in list((pool._processes or {}).values()):
            with contextlib.suppress(OSError):
                process.kill()
        pool.shutdown(wait=False, cancel_futures=True)

    def _after_a_death(self, queue: _Queue, deaths: list[int]) -> Iterator[Result]:
        """Everything that was under way is suspected; whatever was already is the culprit."""
        self.close()
        for position, _ in queue.running.values():
            deaths[position] += 1
            if deaths[position] > 1:
                yield position, WorkerDiedError("its worker process died twice (out of memory?)")
            else:
                queue.suspects.append(position)
        queue.running.clear()

    def _begin_again(self, queue: _Queue, without: list[int]) -> None:
        """Stop all workers; what was under way besides some positions is begun again before all others."""
        self.close()
        queue.waiting.extendleft(position for position, _ in queue.running.values() if position not in without)
        queue.running.clear()

    def _submitted(self, function: Job, arguments: tuple[Any, ...], queue: _Queue) -> Future[Any]:
        """A job under way. A fork server that died is started again.

        Raises:
            RuntimeError: there is none even so.
        """
        failed: Exception | None = None
        for turn in range(_STARTS):
            time.sleep(0.2 * turn)  # until the system knows that it is gone
            try:
                pool = self._started()
                with _without_main():
                    return pool.submit(_in_worker, function, arguments)
            except BrokenProcessPool as error:
                failed = error
                if queue.running:  # whose end tells the rest
                    return _broken(error)
                self.close()
            except (EOFError, OSError) as error:
                self._begin_again(queue, without=[])
                failed = error
        raise RuntimeError(f"worker processes cannot be started: {failed!r}") from failed

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = warm_up()
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker, initargs=(self.threads, limits())
            )
        return self._pool


def available_memory() -> int | None:
    """Bytes that are free on this machine, or in the container that this process may not leave; None if unknown."""
    found = []
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        found.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(found, default=None)


def _broken(error: BrokenProcessPool) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


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


def _in_worker(function: Job, arguments: tuple[Any, ...]) -> Any:
    """A job in a worker, which gives back memory between jobs: each needs its most for a moment only."""
    result = guarded(function, arguments)
    give_back()
    return result


def give_back() -> None:
    """Return freed memory to the system, where the C library can (glibc)."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _start_worker(threads: int, longest: Limits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    set_threads(threads)
    set_limits(longest)


def _die_with_parent() -> None:
    """End this worker when the run that started it is gone; a killed run must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _exit(1)
