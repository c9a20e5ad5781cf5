"""The folder that a run writes to: one run each, resumable, and one process at a time."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vfc.artifact import write_bytes
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
