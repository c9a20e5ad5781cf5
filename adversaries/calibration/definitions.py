"""Top-level definitions of source files: found by name, through imports, without importing anything."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from adversaries.calibration.scopes import bindings

OURS = ("vfc", "adversaries", "protocols", "reports")
"""Top-level packages whose definitions are followed; a name of any other package stands for itself."""

MARK = "# Structure: calibration does not count it."
"""A line that takes the definition below it, or before the first statement the whole file, out of what is counted."""


@dataclass(frozen=True, order=True)
class Definition:
    """One top-level name of one file.

    Args:
        module: dotted name of the file.
        name: what is defined there; empty for everything in the file.
    """

    module: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Module:
    """What one file defines.

    Args:
        package: dotted name of the package that it is in, for relative imports.
        statements: for every name, the top-level statements that bind it or change it.
        imports: for every name that is only imported, the dotted name of what it stands for.
        structure: names that are not counted; the empty one if the whole file is not.
    """

    package: str
    statements: dict[str, list[ast.stmt]]
    imports: dict[str, str]
    structure: frozenset[str]


@dataclass(frozen=True, eq=False)
class Tree:
    """Where definitions are looked up; every file is read once.

    Args:
        ours: top-level packages whose definitions are followed.
        folder: where those packages are; None for wherever Python finds them.
    """

    ours: tuple[str, ...] = OURS
    folder: Path | None = None
    _modules: dict[str, Module | None] = field(default_factory=dict, repr=False)

    def module(self, name: str) -> Module | None:
        """A file by its dotted name; None if it is none of ours, or there is no such file."""
        if name not in self._modules:
            path = self._path(name) if name.partition(".")[0] in self.ours else None
            package = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
            text = "" if path is None or path.is_dir() else path.read_text(encoding="utf-8")
            self._modules[name] = None if path is None else read(text, package)
        return self._modules[name]

    def find(self, dotted: str) -> tuple[Definition | str, tuple[str, ...]]:
        """What a dotted name stands for.

        Returns:
            The definition, and the attributes that are asked of it; or the dotted name itself if it is none of ours.
        """
        seen = set()
        while dotted not in seen:
            seen.add(dotted)
            found = self._step(dotted)
            if not isinstance(found, str):
                return found
            dotted = found
        return dotted, ()

    def _step(self, dotted: str) -> tuple[Definition, tuple[str, ...]] | str:
        """The definition that a dotted name stands for, or the dotted name that it is imported from."""
        name, *rest = dotted.split(".")
        module = self.module(name)
        while module is not None:
            if not rest:
                return Definition(name, ""), ()
            here = f"{name}.{rest[0]}"
            if rest[0] in module.statements:
                return Definition(name, rest[0]), tuple(rest[1:])
            if module.imports.get(rest[0], here) != here:
                return ".".join([module.imports[rest[0]], *rest[1:]])
            name, rest, module = here, rest[1:], self.module(here)
        return dotted

    def _path(self, module: str) -> Path | None:
        top, *rest = module.split(".")
        for folder in _folders(top) if self.folder is None else (self.folder,):
            path = folder.joinpath(top, *rest)
            for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
                if file.is_file():
                    return file
            if path.is_dir():
                return path
        return None


@cache
def _folders(top: str) -> tuple[Path, ...]:
    """Folders in which a top-level package or module lies; it is not imported."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(folder).parent for folder in spec.submodule_search_locations)
    return (Path(spec.origin).parent,) if spec.has_location and spec.origin is not None else ()


def read(source: str, package: str) -> Module:
    """What a file defines.

    Args:
        source: its text.
        package: dotted name of the package that it is in, for relative imports.
    """
    body = ast.parse(source).body
    marked = _marked(source, body)
    bound: dict[str, list[ast.stmt]] = {}
    changed: list[tuple[str, ast.stmt]] = []
    imports: dict[str, set[str]] = {}
    structure = set()
    for number, statement in enumerate(body):
        names: set[str] = set()
        for name, target in bindings(statement, package):
            imports.setdefault(name, set()).add("" if target is None else target)
            names.add(name)
        for name in sorted(names):
            bound.setdefault(name, []).append(statement)
        changed += [(name, statement) for name in _changed(statement) if name not in names]
        if number in marked:
            structure |= names
    if body and len(marked) == len(body):
        structure.add("")
    only = {name: min(targets) for name, targets in imports.items() if len(targets) == 1 and "" not in targets}
    statements = {name: found for name, found in bound.items() if name not in only}
    for name, statement in changed:
        if name in statements:
            statements[name].append(statement)
    return Module(package=package, statements=statements, imports=only, structure=frozenset(structure - set(only)))


def _changed(statement: ast.stmt) -> Iterator[str]:
    """Names whose value a top-level statement changes without binding them: `table["x"] = 1`, `table.update(...)`."""
    match statement:
        case ast.Assign(targets=targets):
            candidates: list[ast.expr] = list(targets)
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            candidates = [target]
        case ast.Expr(value=ast.Call(func=ast.Attribute() as function)):
            candidates = [function]
        case _:
            candidates = []
    for base in candidates:
        while isinstance(base, (ast.Attribute, ast.Subscript)):
            base = base.value
        if isinstance(base, ast.Name):
            yield base.id


def _marked(source: str, body: list[ast.stmt]) -> set[int]:
    """Positions of the statements that are marked as structure."""
    if MARK not in source:
        return set()
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = [token.start[0] for token in tokens if token.type == tokenize.COMMENT and token.line.rstrip() == MARK]
    firsts = [_first_line(statement) for statement in body]
    opening = 1 if body and _is_text(body[0]) else 0
    marked = set()
    for line in lines:
        following = next((number for number, first in enumerate(firsts) if first > line), None)
        if following is not None:
            marked |= set(range(len(body))) if following <= opening else {following}
    return marked


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _is_text(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False
