"""Which scope every name belongs to, as Python decides it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Functions = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(eq=False)
class Scope:
    """Names of one function, class or comprehension.

    Args:
        parent: the scope around it; None for the top level of a file, whose names `Module` knows.
        names: local names, each with what it imports, else None.
        parameters: those that callers may pass.
        of_class: whether it is the body of a class, whose names are attributes.
    """

    parent: Scope | None = None
    names: dict[str, str | None] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    of_class: bool = False

    def owner(self, name: str) -> Scope:
        """The scope that a name which occurs here belongs to."""
        scope = self
        while scope.parent is not None:
            if name in scope.names and (scope is self or not scope.of_class):
                return scope
            scope = scope.parent
        return scope

    def inside(
        self,
        body: Iterable[ast.AST],
        package: str,
        *,
        parameters: frozenset[str] = frozenset(),
        of_class: bool = False,
    ) -> Scope:
        """The scope of a function, class or comprehension that stands in this one.

        Args:
            body: its statements or expressions.
            package: dotted name of the package that the file is in.
            parameters: what callers may pass.
            of_class: whether it is a class.
        """
        names: dict[str, str | None] = dict.fromkeys(parameters)
        elsewhere: set[str] = set()
        for statement in body:
            elsewhere |= set(foreign(statement))
            for name, target in bindings(statement, package):
                names[name] = target if name not in names or names[name] == target else None
        found = {name: target for name, target in names.items() if name not in elsewhere}
        return Scope(parent=self, names=found, parameters=parameters, of_class=of_class)


def bindings(node: ast.AST, package: str) -> Iterator[tuple[str, str | None]]:
    """Names that a statement binds in its own scope, each with what it imports; None if it does not import it."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, None
            return
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from ((inner.target.id, None) for inner in ast.walk(node) if isinstance(inner, ast.NamedExpr))
            return
        case ast.Import(names=aliases):
            for alias in aliases:
                top = alias.name.partition(".")[0]
                yield (top, top) if alias.asname is None else (alias.asname, alias.name)
        case ast.ImportFrom(names=aliases):
            origin = _origin(node, package)
            yield from ((alias.asname or alias.name, f"{origin}.{alias.name}") for alias in aliases)
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name, None
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, None
        case ast.MatchMapping(rest=str(name)):
            yield name, None
    for child in ast.iter_child_nodes(node):
        yield from bindings(child, package)


def foreign(node: ast.AST) -> Iterator[str]:
    """Names that a statement declares to belong to a scope further out."""
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    elif not isinstance(node, (*Functions, ast.ClassDef, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from foreign(child)


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of what is imported from."""
    if node.level == 0:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])
