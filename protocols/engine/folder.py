"""The folder that a run writes to: one run each, resumable, and one process at a time.

It is ours only by its marker, a file which also says what was there before us: nothing foreign is deleted or
overwritten.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from protocols.engine.settings import SPLITS
from vfc.artifact import load_json, write_bytes
from vfc.errors import UserError

MARKER = ".vfc-run.json"
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
    "leakage.*",
    "overtraining.*",
    "bench.*",
    "calibration.json",
)
"""What runs write, as patterns."""

_IN_FOLDERS = (".*", "*.safetensors", "*.json", "*.tmp")
"""What runs write into folders of theirs."""


RUN_FILE = "run.json"
"""What `vfc train` leaves for `vfc attack`."""

_RUN: dict[str, tuple[type, ...]] = {
    "dataset": (str, type(None)),
    **dict.fromkeys(("dataset_digest", "task", "split", "target"), (str,)),
    **dict.fromkeys(("labels", "unintended", "outside"), (list,)),
    "width": (int, float),
    "models": (dict,),
    "twin": (str, type(None)),
    "undefended": (bool,),
}


def load_run(folder: Path) -> dict[str, Any]:
    """What a run folder says of itself.

    Raises:
        UserError: it is missing or damaged, or lacks something.
    """
    run = load_json(folder / RUN_FILE)
    fix = "make the folder again with vfc train"
    if not isinstance(run, dict):
        raise UserError(f"expected a table in {folder / RUN_FILE}, got {type(run).__name__}", fix)
    run = {"outside": [], **run}  # older folders know no models from outside
    for name, kinds in _RUN.items():
        found = run.get(name, "none")
        texts = [*found, *found.values()] if isinstance(found, dict) else found if isinstance(found, list) else ()
        if name not in run or not isinstance(found, kinds) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"expected {name} in {folder / RUN_FILE}, got {str(found)[:100]}", fix)
    if run["split"] not in SPLITS:
        raise UserError(
            f"expected one of {', '.join(SPLITS)} as split in {folder / RUN_FILE}, got {run['split']!r}", fix
        )
    return run


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What is known of a run folder's entries.

    Args:
        foreign: names that no run wrote.
        present: names that were there when the last run ended; None if it was killed, or is under way.
    """

    foreign: tuple[str, ...] = ()
    present: tuple[str, ...] | None = None

    @classmethod
    def of(cls, out: Path) -> Marker | None:
        """The marker of a folder; None if it has none, so that the folder is not ours."""
        try:
            found = json.loads((out / MARKER).read_bytes())
            present = found["present"]
            return cls(foreign=tuple(found["foreign"]), present=None if present is None else tuple(present))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, out: Path) -> None:
        """Put it into its folder."""
        content = {"what": "a run folder of vfc", "foreign": list(self.foreign), "present": self.present}
        write_bytes(json.dumps(content, indent=1).encode(), out / MARKER)

    def strangers(self, out: Path) -> tuple[str, ...]:
        """Names of everything in the folder that no run wrote."""
        found = set(self.foreign)
        for name in _entries(out):
            # Of a run that was killed nobody knows the last files but by their names.
            unknown = name not in self.present if self.present is not None else not _is_ours(name)
            if unknown or (out / name).is_symlink():
                found.add(name)
        return tuple(sorted(found & set(_entries(out))))


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
            if out.is_dir() and _entries(out) and Marker.of(out) is None:
                raise UserError(
                    f"expected an empty folder or an earlier run as --out, got other files in {out}",
                    "choose another --out",
                )
            out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(out))
            foreign = _take(out, identity, fresh=fresh)
        except OSError as error:
            raise UserError(f"cannot write to {out}: {error.strerror or error}", "choose another --out") from error
        try:
            yield
        finally:
            # Without it the next run takes this one for killed, which loses nothing.
            with contextlib.suppress(UserError, OSError):
                Marker(foreign=foreign, present=tuple(_entries(out))).write(out)


def _take(out: Path, identity: dict[str, Any], *, fresh: bool) -> tuple[str, ...]:
    """Make the folder ready for a run; returns what is not ours in it."""
    foreign = (Marker.of(out) or Marker(present=())).strangers(out)
    for name in foreign:
        if _is_ours(name):
            raise UserError(
                f"expected in {out} only what runs wrote, got {name}, which would be overwritten",
                "move it, or choose another --out",
            )
    mine = [name for name in _entries(out) if name not in foreign and _is_ours(name)]
    for name in mine:
        if fresh or name == ".work":
            _discard(out / name)
    # Whoever stopped before anything was finished left nothing to protect.
    file = out / FILE
    if file.exists() and any(name != FILE for name in _entries(out) if name not in foreign):
        _compare(out, file.read_bytes(), identity)
        Marker(foreign=foreign).write(out)
    else:
        Marker(foreign=foreign).write(out)
        write_bytes(json.dumps(identity, indent=1, sort_keys=True).encode(), file)
    return foreign


def _entries(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name not in (LOCK, MARKER))


def _is_ours(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _OURS)


def _discard(path: Path) -> None:
    """Delete a file or folder of ours; what runs do not write stays, with the folder that it lies in."""
    if not path.is_dir():
        path.unlink()
        return
    for inside in sorted(path.rglob("*"), reverse=True):
        if inside.is_dir() and not inside.is_symlink():
            with contextlib.suppress(OSError):
                inside.rmdir()
        elif not inside.is_symlink() and any(fnmatchcase(inside.name, pattern) for pattern in _IN_FOLDERS):
            inside.unlink()
    with contextlib.suppress(OSError):
        path.rmdir()


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when this process ends in whatever way."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (out / LOCK).open("a") as file:
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
