"""Which modules are the user's own, in which files they lie, and what these import; by reading, never by importing."""

# Structure: calibration does not count it.

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from vfc.errors import UserError

OURS = ("vfc", "adversaries", "protocols", "reports")
"""Packages whose code counts everywhere, by `provenance.code_digest`."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def plain_text(value: object) -> str:
    """A value as text, without the address in memory that functions and plain objects show."""
    return _ADDRESS.sub("", str(value))


def is_own(name: str, folder: Path) -> bool:
    """Whether a module is neither of the standard library, nor installed, nor ours.

    Args:
        name: of the module, in full or the first word of it.
        folder: where it may lie beside the path.
    """
    top = name.partition(".")[0]
    return top not in OURS and top not in sys.stdlib_module_names and not _installed(find(top, folder))


def find(name: str, folder: Path) -> ModuleSpec | None:
    """A module of the folder or of the path, which is not imported."""
    try:
        return PathFinder.find_spec(name, [str(folder), *sys.path]) or importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def files_of(name: str, found: ModuleSpec | None) -> dict[str, Path]:
    """The sources of a module or package, by their names inside it."""
    files: dict[str, Path] = {}
    for place in map(Path, _places(found)):
        if place.is_dir():
            files |= {f"{name}/{path.relative_to(place).as_posix()}": path for path in place.rglob("*.py")}
        elif place.is_file():
            files[f"{name}.py"] = place
    return files


def with_imports(files: dict[str, Path], folder: Path, known: Iterable[str]) -> dict[str, Path]:
    """Sources, and those of all modules of the user's own that they import, directly or not.

    Args:
        files: by name.
        folder: where imported modules may lie beside the path.
        known: first words of the modules whose sources these are.
    """
    files, waiting, seen = dict(files), list(files.values()), set(known)
    while waiting:
        for name in sorted(set(_imported(waiting.pop())) - seen):
            seen.add(name)
            more = files_of(name, find(name, folder)) if name.isidentifier() and is_own(name, folder) else {}
            files |= more
            waiting += more.values()
    return files


def digests_of(files: dict[str, Path]) -> list[list[str]]:
    """Name and digest of every file, by name.

    Raises:
        UserError: one cannot be read.
    """
    return [[name, bytes_digest(file)] for name, file in sorted(files.items())]


def bytes_digest(file: Path) -> str:
    """SHA-256 of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}", "check the file and your rights") from error


def _installed(found: ModuleSpec | None) -> bool:
    places = [Path(place).resolve() for place in _places(found)]
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib", "stdlib")}
    return any(place.is_relative_to(folder) for place in places for folder in installed)


def _places(found: ModuleSpec | None) -> list[str]:
    if found is None:
        return []
    return list(found.submodule_search_locations or ([found.origin] if found.origin else []))


def _imported(file: Path) -> Iterator[str]:
    """First words of all imports of a file, wherever they stand in it; nothing of a file that is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
