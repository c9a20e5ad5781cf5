"""Writing files as a whole or not at all: readers see the old one or the new one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from vfc.errors import UserError


def replace_whole(file: Path, content: bytes) -> None:
    """Write one file; raises OSError and leaves the old one if that fails."""
    _replace({file: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """Write several files; none is replaced before all are on disk.

    Raises:
        UserError: one of them cannot be written; then none is.
    """
    try:
        for file in contents:
            if file.is_dir():
                raise UserError(f"expected a file name, got the folder {file}", "name a file")
            file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                file.lstat()  # says now whether the name itself is impossible
        _replace(contents)
    except (OSError, ValueError) as error:
        name, why = getattr(error, "filename", None), getattr(error, "strerror", None)
        raise UserError(f"cannot write {name or 'a file'}: {why or error}", "choose another file") from error


def _replace(contents: Mapping[Path, bytes]) -> None:
    waiting: dict[Path, Path] = {}
    try:
        for file, content in contents.items():
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=".vfc-")
            waiting[file] = Path(name)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            waiting[file].chmod(0o644)
        for file in list(waiting):
            waiting[file].replace(file)
            del waiting[file]
    finally:
        for leftover in waiting.values():
            leftover.unlink(missing_ok=True)
