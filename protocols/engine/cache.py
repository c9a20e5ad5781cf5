"""The cache: trained parts and finished tasks that runs share. Imports no torch.

Every part is a folder of its own (`trained/NAME`) or a file (`cells/.../NAME.safetensors`), named by a digest of all
that it depends on, so any of them may go: whoever needs it makes it again. Runs hold a shared lock on the cache while
they work, and nothing is removed before all of them have let go.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vfc.config import user_cache_folder
from vfc.errors import UserError

Kind = Literal["trained", "cells"]
KINDS: tuple[Kind, ...] = ("trained", "cells")
LIMIT = "VFC_CACHE_LIMIT"
LOCK = ".lock"
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True, kw_only=True)
class CachedPart:
    """One thing that the cache holds.

    Args:
        kind: `trained` for models and defenses, `cells` for finished tasks.
        path: its folder or file.
        size: in bytes.
        used: when a run last made or read it, seconds since 1970.
    """

    kind: Kind
    path: Path
    size: int
    used: float

    @property
    def what(self) -> str:
        """The kind of a trained part (model, defense, ...), or `finished task`."""
        return self.path.name.rpartition("-")[0] if self.kind == "trained" else "finished task"


def cached_parts(root: Path | None = None) -> list[CachedPart]:
    """Everything in the cache, least recently used first; downloaded data sets are no part of it.

    Args:
        root: the cache; None for the user's.
    """
    root = root or user_cache_folder()
    trained = [path for path in _inside(root / "trained") if path.is_dir() and not path.name.startswith(".")]
    cells = [path for path in sorted((root / "cells").rglob("*.safetensors")) if path.is_file()]
    parts = [_part("trained", path) for path in trained] + [_part("cells", path) for path in cells]
    return sorted((part for part in parts if part is not None), key=lambda part: (part.used, part.path))


def touch(path: Path) -> None:
    """Note that a part was used now, so that pruning takes others first; when a task was finished stays known."""
    with contextlib.suppress(OSError):
        # Looking into a folder is an access too, so that folders are noted by their other time.
        now = time.time_ns()
        os.utime(path, ns=(now, now if path.is_dir() else path.stat().st_mtime_ns))


def chosen_to_go(
    parts: Sequence[CachedPart], *, size: int | None = None, age: float | None = None, now: float | None = None
) -> list[CachedPart]:
    """Which parts are removed so that the rest fits.

    Args:
        parts: all, least recently used first.
        size: bytes that may stay; None for any number.
        age: seconds since a part was last used from which on it goes; None for never.
        now: seconds since 1970; None for the present.
    """
    now = time.time() if now is None else now
    going: list[CachedPart] = []
    staying: list[CachedPart] = []
    for part in parts:
        (going if age is not None and now - part.used >= age else staying).append(part)
    kept = sum(part.size for part in staying)
    for part in staying:
        if size is None or kept <= size:
            break
        going.append(part)
        kept -= part.size
    return going


def remove(parts: Sequence[CachedPart], root: Path | None = None) -> int:
    """Remove parts of the cache; returns the bytes that this frees.

    Raises:
        UserError: a run is using the cache.
    """
    with _exclusive(root or user_cache_folder()) as alone:
        if not alone:
            raise UserError("a run is using the cache", "wait for it, or give other runs a VFC_CACHE_DIR of their own")
        for part in parts:
            if part.path.is_dir():
                shutil.rmtree(part.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    part.path.unlink()
        return sum(part.size for part in parts if not part.path.exists())


@contextlib.contextmanager
def cache_in_use(root: Path | None = None) -> Iterator[None]:
    """Inside, nobody prunes the cache. At the end it is brought under `$VFC_CACHE_LIMIT`, if no other run needs it.

    Raises:
        UserError: that limit is no size.
    """
    root = root or user_cache_folder()
    limit = os.environ.get(LIMIT)
    size = None if not limit else parse_size(limit)
    with _locked(root, shared=True):
        yield
    if size is not None and (going := chosen_to_go(cached_parts(root), size=size)):
        with contextlib.suppress(UserError):  # another run is at work, and will do it at its own end
            remove(going, root)


def parse_size(text: str) -> int:
    """Bytes from a number with an optional unit: `500MB`, `20 GB` (powers of 1,000).

    Raises:
        UserError: it is no size.
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?b)?", text.strip().lower(), re.ASCII)
    if found is None:
        raise UserError(f"expected a size, got {text[:60]!r}", "for instance 500MB or 20GB")
    return int(float(found[1]) * _UNITS[found[2] or ""])


def parse_age(text: str) -> float:
    """Seconds from a number of hours, days or weeks: `12h`, `30d`, `8w`.

    Raises:
        UserError: it is no such number.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*([hdw])", text.strip().lower(), re.ASCII)
    if found is None:
        raise UserError(f"expected a time, got {text[:60]!r}", "for instance 12h, 30d or 8w")
    return float(found[1]) * {"h": 3600, "d": 86_400, "w": 604_800}[found[2]]


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _part(kind: Kind, path: Path) -> CachedPart | None:
    """A part; None if it has gone meanwhile."""
    try:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size, about = sum(file.stat().st_size for file in files), path.stat()
        used = about.st_mtime if path.is_dir() else max(about.st_atime, about.st_mtime)
        return CachedPart(kind=kind, path=path, size=size, used=used)
    except OSError:
        return None


@contextlib.contextmanager
def _exclusive(root: Path) -> Iterator[bool]:
    """Whether the cache is ours alone, which it then stays inside."""
    with _locked(root, shared=False) as got:
        yield got


@contextlib.contextmanager
def _locked(root: Path, *, shared: bool) -> Iterator[bool]:
    """Hold the cache's lock, which the system releases when this process ends in whatever way; whether we have it."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield True
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / LOCK).open("a")
    except OSError:  # a cache that cannot be written is not pruned either
        yield shared
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
