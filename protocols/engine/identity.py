"""Content hashes of what is attacked: code, state and settings, never the place where a file lies."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from torch import nn

from protocols.engine.settings import digest_of
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.release import tensor_digest

OURS = ("vfc", "adversaries", "protocols", "reports")
"""Packages whose code counts everywhere, by `provenance.code_digest`."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(defense: Defense) -> str:
    """Content hash of a fitted defense and its target."""
    return digest_of([*_content(defense), model_digest(defense.target)])


def digest_of_defense(defense: Defense) -> str:
    """Content hash of a fitted defense alone."""
    return digest_of(_content(defense))


def model_digest(model: nn.Module | None) -> str:
    """Content hash of a model's structure and weights; empty without one."""
    if model is None:
        return ""
    state = model.state_dict()
    return digest_of([plain_text(model), sorted(state), tensor_digest(*(state[name] for name in sorted(state)))])


def plain_text(value: object) -> str:
    """A value as text, without the address in memory that functions and plain objects show."""
    return _ADDRESS.sub("", str(value))


def content_of(spec: ReleaseSpec) -> str:
    """What a release is, as text that is the same wherever its files lie; of a run folder its own digest says the rest.

    Raises:
        UserError: a file of it cannot be read.
    """
    if spec.kind == "factory":
        return f"factory {spec.attribute} {code_of_factory(spec)}"
    if spec.kind == "arrays":
        return f"arrays {_bytes_digest(Path(spec.source))}"
    return spec.text if spec.kind in ("registered", "object") else spec.kind


def code_of_factory(spec: ReleaseSpec) -> str:
    """Digest of a factory's file, and of all modules of the user's own that it imports, directly or not.

    An object has a digest of its own. Of a module the whole package counts. Neither the standard library nor what is
    installed is followed: whoever imports that has it from a version.

    Raises:
        UserError: the file cannot be read.
    """
    if spec.kind == "object":
        return spec.text.rpartition(":")[2]
    if spec.source.endswith(".py"):
        first = Path(spec.source).resolve()
        files, folder = {"": first}, first.parent
    else:
        folder, top = Path.cwd(), spec.source.partition(".")[0]
        files = _files_of(top, _found(top, folder))
    waiting, seen = list(files.values()), {spec.source.partition(".")[0]}
    while waiting:
        for name in sorted(set(_imported(waiting.pop())) - seen):
            seen.add(name)
            more = _files_of(name, _own(name, folder))
            files |= more
            waiting += more.values()
    return digest_of([[name, _bytes_digest(file)] for name, file in sorted(files.items())])


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


def _own(name: str, folder: Path) -> ModuleSpec | None:
    """Where a module of the user's own is; None for the standard library, what is installed, and ours."""
    if name in OURS or name in sys.stdlib_module_names or not name.isidentifier():
        return None
    found = _found(name, folder)
    places = [str(Path(place).resolve()) for place in _places(found)]
    installed = tuple({str(Path(sysconfig.get_path(kind)).resolve()) for kind in ("purelib", "platlib", "stdlib")})
    return None if any(place.startswith(installed) for place in places) else found


def _found(name: str, folder: Path) -> ModuleSpec | None:
    """A module of the folder or of the path, which is not imported."""
    try:
        return PathFinder.find_spec(name, [str(folder), *sys.path]) or importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _places(found: ModuleSpec | None) -> list[str]:
    if found is None:
        return []
    return list(found.submodule_search_locations or ([found.origin] if found.origin else []))


def _files_of(name: str, found: ModuleSpec | None) -> dict[str, Path]:
    """The sources of a module or package, by their names inside it."""
    files: dict[str, Path] = {}
    for place in map(Path, _places(found)):
        if place.is_dir():
            files |= {f"{name}/{path.relative_to(place).as_posix()}": path for path in place.rglob("*.py")}
        elif place.is_file():
            files[f"{name}.py"] = place
    return files


def _bytes_digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}", "check the file and your rights") from error


def _content(defense: Defense) -> list[object]:
    state = defense.state()
    settings = {name: plain_text(value) for name, value in defense.settings().items()}
    tensors = tensor_digest(*(state[name] for name in sorted(state)))
    return [type(defense).__name__, settings, sorted(state), tensors]
