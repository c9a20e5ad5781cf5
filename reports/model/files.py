"""Writing files as a whole or not at all, and the digests by which readers know that they are as they were written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

from vfc.errors import UserError

REPORT, SIDECAR = "report.json", "report.safetensors"
"""A report and its arrays."""


def json_bytes(data: Any) -> bytes:
    """JSON as it lies on disk: sorted keys, two spaces, UTF-8, no NaN."""
    return (json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def json_digest(data: Any) -> str:
    """SHA-256 of data as JSON, by which a file that holds it is known to be as it was written."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def arrays_digest(arrays: Mapping[str, NDArray[Any]], *texts: str) -> str:
    """SHA-256 of named arrays and of the texts that say whose they are.

    Args:
        arrays: by name, whatever their order.
        texts: the key under which they are kept, say.
    """
    total = hashlib.sha256()
    facts = [(name, values.dtype.str, values.shape) for name, values in sorted(arrays.items())]
    for text in (*texts, repr(facts)):
        total.update(f"{len(text)}:{text}".encode("utf-8", "surrogateescape"))
    for name in sorted(arrays):
        total.update(arrays[name].tobytes())
    return total.hexdigest()


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
        names = ", ".join(str(file) for file in contents)
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {names}: {why}", "free some space, or choose another file") from error


def _into(device: Path, content: bytes) -> None:
    """Write to what is no file (a device, a pipe), which must stay what it is."""
    with device.open("wb") as stream:
        stream.write(content)


def _replace(contents: Mapping[Path, bytes]) -> None:
    waiting: dict[Path, Path] = {}
    try:
        for named, content in contents.items():
            file = named.resolve()
            if file.exists() and not file.is_file():
                _into(file, content)
                continue
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
