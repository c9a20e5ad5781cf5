"""The canonical text of one definition: what it computes, without the names and places that do not matter.

Docstrings, comments, layout and annotations do not count. A name that is imported or defined in another statement
stands for its definition. Local variables are numbered in the order in which they occur, so that their names do not
count; those of parameters count where somebody passes them by keyword.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from adversaries.calibration.definitions import Definition, Module, Tree
from adversaries.calibration.scopes import Functions, Scope, bindings

SKIPPED = frozenset({"annotation", "returns", "type_comment", "type_params", "kind", "ctx", "type_ignores", "simple"})
"""Fields of syntax nodes that do not compute, or that some versions of Python do not have."""

NAMED = {ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name", ast.MatchMapping: "rest"}
"""Syntax nodes that bind a name which is no node of its own, and the field that holds it."""

KINDS = ("typing.ClassVar", "dataclasses.InitVar", "dataclasses.KW_ONLY")
"""Annotations that change what `dataclass` makes of a field."""


@dataclass(frozen=True)
class Parameter:
    """A local name that callers may know.

    Args:
        name: as it is written.
        number: what stands for it unless somebody passes it by keyword.
    """

    name: str
    number: int


@dataclass(frozen=True, kw_only=True)
class Text:
    """The canonical text of a definition.

    Args:
        parts: pieces of text, and what they refer to.
        keywords: names by which this definition passes arguments.
    """

    parts: tuple[str | Definition | Parameter, ...]
    keywords: frozenset[str]

    @cached_property
    def definitions(self) -> tuple[Definition, ...]:
        """What it refers to, each once, in the order of the text."""
        return tuple(dict.fromkeys(part for part in self.parts if isinstance(part, Definition)))


def text_of(definition: Definition, module: Module, tree: Tree) -> Text:
    """The canonical text of a definition in a file.

    Args:
        definition: what to write.
        module: the file that it is in.
        tree: where names are looked up.
    """
    writer = Writer(definition, module, tree)
    if definition.name:
        writer.write_all(module.statements[definition.name], Scope())
    else:
        for name in sorted(module.statements):
            writer.parts += [f" {name}=", Definition(definition.module, name)]
        for name in sorted(module.imports):
            writer.add(f" {name}=")
            writer.refer(module.imports[name])
    return Text(parts=tuple(_joined(writer.parts)), keywords=frozenset(writer.keywords))


def _joined(parts: Iterable[str | Definition | Parameter]) -> Iterator[str | Definition | Parameter]:
    pieces: list[str] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        yield "".join(pieces)
        yield part
        pieces = []
    yield "".join(pieces)


class Writer:
    """Writes one definition.

    Args:
        definition: which one; its own name is not written.
        module: the file that it is in.
        tree: where names are looked up.
    """

    def __init__(self, definition: Definition, module: Module, tree: Tree) -> None:
        self.own, self.module, self.tree = definition, module, tree
        self.parts: list[str | Definition | Parameter] = []
        self.keywords: set[str] = set()
        self.numbers: dict[tuple[Scope, str], int] = {}

    def add(self, text: str) -> None:
        """Write text as it is."""
        self.parts.append(text)

    def refer(self, dotted: str) -> None:
        """Write what a dotted name stands for."""
        found, attributes = self.tree.find(dotted)
        if found == self.own:
            found = "own"
        self.parts.append(found if isinstance(found, Definition) else f"<{found}>")
        self.add("".join(f".{name}" for name in attributes))

    def write_all(self, nodes: Iterable[ast.AST], scope: Scope) -> None:
        """Write some nodes in their order."""
        for node in nodes:
            self.write(node, scope)

    def write(self, node: ast.AST, scope: Scope) -> None:
        """Write one node of the syntax tree."""
        match node:
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Global() | ast.Nonlocal():
                pass  # Texts compute nothing, and scopes are known.
            case ast.Import() | ast.ImportFrom():
                for name, target in bindings(node, self.module.package):
                    if target is not None and self.imported(name, scope) is None:
                        self.name(name, scope)
                        self.refer(target)
            case ast.Constant(value=value):
                self.add(f"{value!r},")
            case ast.Name(id=name):
                self.name(name, scope)
            case ast.Attribute():
                self.attribute(node, scope)
            case ast.keyword(arg=name, value=value):
                if name is not None:
                    self.keywords.add(name)
                self.add(f" {name}=")
                self.write(value, scope)
            case ast.AnnAssign():
                self.assignment(node, scope)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self.function(node, scope)
            case ast.ClassDef():
                self.class_(node, scope)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self.comprehension(node, scope)
            case _:
                self.fields(node, scope, bound=NAMED.get(type(node), ""))

    def fields(self, node: ast.AST, scope: Scope, *, bound: str = "", but: frozenset[str] = frozenset()) -> None:
        """Write a node field by field; the field `bound` holds a name."""
        self.add(f"({type(node).__name__}")
        for name in sorted(set(node._fields) - SKIPPED - but):
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            self.add(f" {name}=")
            if name == bound:
                self.name(value, scope)
            elif isinstance(value, list):
                self.write_list(value, scope)
            elif isinstance(value, ast.AST):
                self.write(value, scope)
            else:
                self.add(repr(value))
        self.add(")")

    def write_list(self, values: Iterable[object], scope: Scope) -> None:
        """Write a list of nodes; None (a key of `{**x}`) and plain names (of patterns) may be among them."""
        self.add("[")
        for value in values:
            if isinstance(value, ast.AST):
                self.write(value, scope)
            else:
                self.add(repr(value))
            self.add(",")
        self.add("]")

    def imported(self, name: str, scope: Scope) -> str | None:
        """The dotted name that a name stands for; None if it is not just imported."""
        owner = scope.owner(name)
        return self.module.imports.get(name) if owner.parent is None else owner.names[name]

    def name(self, name: str, scope: Scope) -> None:
        """Write a name as what it stands for."""
        owner, dotted = scope.owner(name), self.imported(name, scope)
        if dotted is not None:
            self.refer(dotted)
        elif owner.of_class:
            self.add(f"<class {name}>")
        elif owner.parent is not None:
            number = self.numbers.setdefault((owner, name), len(self.numbers))
            self.parts.append(Parameter(name, number) if name in owner.parameters else f"<{number}>")
        elif name == self.own.name:
            self.add("<own>")
        elif name in self.module.statements:
            if self.module.statements[name] == self.module.statements[self.own.name]:
                # Bound by the same statement, in `A, B = 1, 2` for instance: its place there says which one it is.
                self.add(f"<beside {self.numbers.setdefault((owner, name), len(self.numbers))}>")
            else:
                self.parts.append(Definition(self.own.module, name))
        else:
            self.add(f"<builtins {name}>")

    def dotted(self, node: ast.expr, scope: Scope) -> str | None:
        """The dotted name of an imported name or of an attribute of one; None for anything else."""
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        base = self.imported(node.id, scope) if isinstance(node, ast.Name) else None
        return None if base is None else ".".join([base, *reversed(names)])

    def attribute(self, node: ast.Attribute, scope: Scope) -> None:
        """Write an attribute; one of a module as what it stands for."""
        dotted = self.dotted(node, scope)
        if dotted is not None:
            self.refer(dotted)
        else:
            self.write(node.value, scope)
            self.add(f".{node.attr}")

    def assignment(self, node: ast.AnnAssign, scope: Scope) -> None:
        """Write an annotated assignment: in a class a field, elsewhere as if there were no annotation."""
        if scope.of_class:
            outer = node.annotation.value if isinstance(node.annotation, ast.Subscript) else node.annotation
            kind = self.dotted(outer, scope)
            self.add(f"(Field {kind if kind in KINDS else ''} ")
            self.write(node.target, scope)
            if node.value is not None:
                self.add("=")
                self.write(node.value, scope)
            self.add(")")
        elif node.value is not None:
            self.fields(ast.Assign(targets=[node.target], value=node.value), scope)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> None:
        """Write a function; its decorators and defaults belong to the scope around it."""
        self.add(f"({type(node).__name__} ")
        if isinstance(node, Functions):
            self.write_list((one for one in node.decorator_list if registered_as(one) is None), scope)
            self.name(node.name, scope)
        arguments, body = node.args, node.body if isinstance(node.body, list) else [node.body]
        self.write_list(arguments.defaults, scope)
        self.write_list(arguments.kw_defaults, scope)
        groups = [
            ("/", arguments.posonlyargs),
            ("", arguments.args),
            ("*", [arguments.vararg] if arguments.vararg else []),
            ("=", arguments.kwonlyargs),
            ("**", [arguments.kwarg] if arguments.kwarg else []),
        ]
        parameters = frozenset(one.arg for _, group in groups for one in group)
        inner = scope.inside(body, self.module.package, parameters=parameters)
        for sign, group in groups:
            for one in group:
                self.add(f" {sign}")
                self.name(one.arg, inner)
        self.add(":")
        self.write_all(body, inner)
        self.add(")")

    def class_(self, node: ast.ClassDef, scope: Scope) -> None:
        """Write a class."""
        self.add("(Class ")
        self.write_list((one for one in node.decorator_list if registered_as(one) is None), scope)
        self.name(node.name, scope)
        self.write_list([*node.bases, *node.keywords], scope)
        self.write_all(node.body, scope.inside(node.body, self.module.package, of_class=True))
        self.add(")")

    def comprehension(self, node: ast.AST, scope: Scope) -> None:
        """Write a comprehension, whose first iterable belongs to the scope around it."""
        generators: list[ast.comprehension] = getattr(node, "generators", [])
        inner = scope.inside([one.target for one in generators], self.module.package)
        for number, one in enumerate(generators):
            self.write(one.iter, inner if number else scope)
            self.write(one.target, inner)
            self.write_list(one.ifs, inner)
            self.add(str(one.is_async))
        self.fields(node, inner, but=frozenset({"generators"}))


def registered_as(decorator: ast.expr) -> str | None:
    """The name under which a decorator registers something, or None for any other decorator.

    The name is data, and a key of its own; facts in keywords say who competes where, and compute nothing.
    """
    match decorator:
        case ast.Call(func=ast.Attribute(attr="register"), args=[ast.Constant(value=str(name))]):
            return name
    return None
