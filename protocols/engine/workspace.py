"""The place of one run: its folder, claimed for one process at a time and resumable, and what is started in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from protocols.engine.cache import cache_in_use
from protocols.engine.executors.base import Executor, StoppedExecutor
from protocols.engine.executors.choose import make_executor
from protocols.engine.folder import claimed
from protocols.engine.progress import Reporter
from protocols.engine.provenance import code_digest
from protocols.engine.settings import Settings
from protocols.engine.task_runner import TaskRunner
from protocols.engine.trainer import Trainer
from protocols.memory import keep_freed
from vfc.config import user_cache_folder
from vfc.errors import UserError
from vfc.handed.held import FOLDERS_LENT
from vfc.isolation.guard import Limits, set_limits


def start_torch(settings: Settings) -> str:
    """Let torch compute as settings ask, and the defender's code no longer; the device that `--device` means.

    Raises:
        UserError: that device is not here.
    """
    torch.set_num_threads(settings.threads)
    keep_freed()
    set_limits(Limits(fit=settings.fit_limit, call=settings.call_limit))
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    name = settings.device
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if here[device])
    if not here[name]:
        raise UserError(f"expected a {name} device, got a machine without one", "use --device auto")
    return name


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Where a run works.

    Args:
        settings: what was asked for.
        device: where to compute.
        out: the run's folder.
        executor, reporter: who runs jobs and tasks, and who tells.
    """

    settings: Settings
    device: str
    out: Path
    executor: Executor
    reporter: Reporter

    def stop(self) -> Workspace:
        """The same place, where what is under way was stopped and nothing more is begun."""
        self.executor.close()
        return replace(self, executor=StoppedExecutor())

    @property
    def stopped(self) -> bool:
        """Whether nothing more is begun here."""
        return isinstance(self.executor, StoppedExecutor)

    @property
    def scratch(self) -> Path:
        """Folder for what only this run's workers need."""
        return self.out / ".work"

    @property
    def root(self) -> Path:
        """Folder of what runs share: the cache, or the run's own folder without one."""
        return self.out if self.settings.no_cache else user_cache_folder()

    @property
    def runner(self) -> TaskRunner:
        """Where tasks are run."""
        code = code_digest(self.device, self.settings.threads)
        return TaskRunner(code=code, executor=self.executor, reporter=self.reporter)

    def trainer(self, *, checkpoints: int = 0) -> Trainer:
        """Trains what is missing, and keeps so many states on the way."""
        return Trainer(
            self.settings, self.device, self.root / "trained", self.scratch, self.executor, self.reporter,
            checkpoints=checkpoints,
        )  # fmt: skip


@contextlib.contextmanager
def workspace(
    settings: Settings, out: Path, identity: Mapping[str, Any], device: str, executor: Executor | None = None
) -> Iterator[Workspace]:
    """Claim the folder of a run and start its executor; at the end stop it, and remove what only workers needed.

    Args:
        settings: what was asked for.
        out: the folder.
        identity: the settings that can change a result.
        device: where to compute.
        executor: who runs jobs; None for the one that settings ask for.

    Raises:
        UserError: the folder holds other settings or other files, is in use, or cannot be written.
    """
    reporter = Reporter(quiet=settings.verbosity < 0, verbose=settings.verbosity > 0)
    shared = contextlib.nullcontext() if settings.no_cache else cache_in_use()
    with claimed(out, dict(identity), fresh=settings.fresh), shared:
        if not any(out.is_relative_to(folder) for folder in FOLDERS_LENT):
            reporter.note(f"writing to {out}")
        executor = executor or make_executor(settings, device)
        place = Workspace(settings=settings, device=device, out=out, executor=executor, reporter=reporter)
        try:
            yield place
        finally:
            executor.close()
            shutil.rmtree(place.scratch, ignore_errors=True)
