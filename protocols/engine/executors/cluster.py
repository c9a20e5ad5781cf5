"""A Ray cluster: one that runs already, or one on this machine that ends with the run."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from protocols.engine.executors.base import Job, Jobs, Result, WorkerDiedError, guarded, set_threads
from protocols.engine.settings import JOB_LIMIT
from vfc.errors import UserError
from vfc.isolation.guard import limits, set_limits

_LOOK, _TRIES = 1.0, 2


class RayExecutor:
    """Every job is a Ray task; the output folder and the cache must be on storage that all nodes share.

    Ray itself would try a job without end that needs more memory than there is; here each is tried twice.

    Args:
        threads: arithmetic threads of each task, and processors that Ray keeps for it.
        device: whose tasks need a GPU each, if it is `cuda`.
        address: of a running cluster; None for `$RAY_ADDRESS`, else a cluster of this machine's processors.
        workers: tasks at a time, at most; None for as many as there is room for.
        limit: seconds that a task may take.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self,
        threads: int,
        device: str = "cpu",
        *,
        address: str | None = None,
        workers: int | None = None,
        limit: float = JOB_LIMIT,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise UserError("--executor ray needs Ray", "pip install -e '.[cluster]' in the checkout of vfc") from error
        self._ray, self.threads, self.device, self.limit = ray, threads, device, limit
        self._joined = not ray.is_initialized()
        if self._joined:
            try:
                with _standard_output_apart():
                    ray.init(
                        address=address, log_to_driver=False, include_dashboard=None if address else False,
                        logging_level=logging.ERROR, configure_logging=True,
                    )  # fmt: skip
            except Exception as error:  # Ray has no type of its own for it
                where = address or os.environ.get("RAY_ADDRESS") or "this machine"
                raise UserError(
                    f"expected a Ray cluster at {where}, got {_last_line(error)}",
                    "check --ray-address, or leave it out",
                ) from error
        room = int(
            ray.cluster_resources().get("GPU" if device == "cuda" else "CPU", 1) // (threads if device != "cuda" else 1)
        )
        self.workers = max(1, min(room, workers or room))

    def run(self, function: Job, jobs: Jobs) -> Iterator[Result]:
        """Yield results as they come."""
        ray, threads, longest = self._ray, self.threads, limits()

        def run_one(arguments: tuple[Any, ...]) -> Any:
            set_threads(threads)
            set_limits(longest)
            return guarded(function, arguments)

        task = ray.remote(num_cpus=threads, num_gpus=int(self.device == "cuda"), max_retries=0)(run_one)
        waiting, tries = deque(range(len(jobs))), [0] * len(jobs)
        running: dict[Any, tuple[int, float]] = {}
        while waiting or running:
            while waiting and len(running) < self.workers:
                position = waiting.popleft()
                running[task.remote(jobs[position])] = (position, time.monotonic())
            done, _ = ray.wait(list(running), timeout=min(_LOOK, self.limit))
            for future in done:
                position, _ = running.pop(future)
                try:
                    result = ray.get(future)
                except ray.exceptions.RayError as error:
                    tries[position] += 1
                    if tries[position] < _TRIES:
                        waiting.append(position)
                        continue
                    result = WorkerDiedError(f"its worker failed {_TRIES} times: {_last_line(error)}")
                yield position, result
            late = [future for future, (_, begun) in running.items() if time.monotonic() - begun > self.limit]
            for future in late:
                ray.cancel(future, force=True)
                yield running.pop(future)[0], WorkerDiedError(f"it did not end within {self.limit:g} s and was stopped")

    def close(self) -> None:
        """Leave the cluster, if it was joined here; one on this machine ends."""
        if self._joined:
            with _standard_output_apart():
                self._ray.shutdown()


def _last_line(error: Exception) -> str:
    """The end of what Ray says of an error, which is what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


@contextlib.contextmanager
def _standard_output_apart() -> Iterator[None]:
    """Inside, what anything writes to standard output goes to standard error: the report alone stands there."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError):  # there is none
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
