"""The place of one run: its folder, claimed for one process at a time and resumable, and what is started in it."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from protocols.engine.executors import Executor, make_executor
from protocols.engine.progress import Reporter
from protocols.engine.provenance import code_digest
from protocols.engine.settings import Settings
from protocols.engine.task_runner import TaskRunner
from protocols.engine.trainer import Trainer
from vfc.artifact import write_bytes
from vfc.data import user_cache_folder
from vfc.errors import UserError

FILE = "settings.json"
LOCK = ".lock"
_OURS = (
    FILE,
    "cells",
    "checkpoints",
    "trained",
    ".work",
    "report.json",
    "report.safetensors",
    "run.json",
    "manifest.json",
    "target.safetensors",
    "defense.safetensors",
    "undefended.safetensors",
    "model-*.safetensors",
    "ablation.*",
    "overtraining.*",
    "calibration.json",
)
"""What runs write, as patterns."""


def start_torch(settings: Settings) -> str:
    """Let torch compute with the threads that settings ask for; the device that `--device` means.

    Raises:
        UserError: that device is not here.
    """
    torch.set_num_threads(settings.threads)
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
    with claimed(out, dict(identity), fresh=settings.fresh):
        reporter.note(f"writing to {out}")
        executor = executor or make_executor(
            settings.executor, workers=settings.workers, threads=settings.threads, device=device
        )
        place = Workspace(settings=settings, device=device, out=out, executor=executor, reporter=reporter)
        try:
            yield place
        finally:
            executor.close()
            shutil.rmtree(place.scratch, ignore_errors=True)


@contextlib.contextmanager
def claimed(out: Path, identity: dict[str, Any], *, fresh: bool) -> Iterator[None]:
    """Make the folder, or resume in it if it holds the same run; inside, no other process can write to it.

    Args:
        out: the folder.
        identity: the settings that can change a result.
        fresh: discard what an earlier run left there (and nothing else).

    Raises:
        UserError: it holds other settings or other files, is in use, or cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            if out.exists() and not out.is_dir():
                raise UserError(f"expected a folder as --out, got the file {out}", "choose another --out")
            strangers = out.is_dir() and any(path.name != LOCK for path in out.iterdir())
            if strangers and not (out / FILE).exists():
                raise UserError(
                    f"expected an empty folder or an earlier run as --out, got other files in {out}",
                    "choose another --out",
                )
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(out))
            _take(out, identity, fresh=fresh)
        except OSError as error:
            raise UserError(f"cannot write to {out}: {error.strerror or error}", "choose another --out") from error
        yield


def _take(out: Path, identity: dict[str, Any], *, fresh: bool) -> None:
    file = out / FILE
    if fresh and file.exists():
        for path in [path for pattern in _OURS for path in out.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(out / ".work", ignore_errors=True)
    # Whoever stopped before anything was finished left nothing to protect.
    if file.exists() and any(path.name not in (FILE, LOCK) for path in out.iterdir()):
        _compare(out, file.read_bytes(), identity)
    else:
        write_bytes(json.dumps(identity, indent=1, sort_keys=True).encode(), file)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when this process ends in whatever way."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (out / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another run is writing to {out}", "wait for it, or choose another --out") from None
        yield


def _compare(out: Path, content: bytes, identity: dict[str, Any]) -> None:
    try:
        held = json.loads(content)
    except ValueError:
        held = None
    if not isinstance(held, dict):
        raise UserError(f"expected the settings of a run in {out / FILE}, got a damaged file",
                        "use --fresh or another --out")  # fmt: skip
    wanted = json.loads(json.dumps(identity))
    if held == wanted:
        return
    names = sorted(name for name in {*held, *wanted} if held.get(name) != wanted.get(name))
    shown = ", ".join(f"{name} {held.get(name)!r}, now {wanted.get(name)!r}" for name in names[:3])
    raise UserError(f"{out} holds a run with other settings ({shown})", "use --fresh to discard it, or another --out")
