"""Cards: what a registry says of its entries, read from source with `ast`, so that nothing is imported for it."""

# Structure: calibration does not count it.

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from vfc.errors import UserError

Definition = ast.ClassDef | ast.FunctionDef


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a registry says of one entry without importing it.

    Args:
        name: under which it is registered.
        module: the file that holds it, or the value of its entry point.
        summary: first line of its docstring.
        text: its docstring.
        facts: the keywords of its `register(...)`.
        attributes: class attributes that are literals.
    """

    name: str
    module: str
    summary: str
    text: str
    facts: Mapping[str, object] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)


def read_cards(path: Path, module: str, variable: str) -> Iterator[Card]:
    """Cards of everything that one file registers.

    Args:
        path: the file.
        module: its dotted name.
        variable: the name under which it knows the registry.

    Raises:
        UserError: a name or a fact is no literal.
    """
    text = path.read_text(encoding="utf-8")
    if f"@{variable}.register(" not in text:  # most files of a large package hold no entry
        return
    for node in _definitions(text):
        for name, facts in _registered(node, variable, module):
            yield _card(node, name, module, facts)


def read_entry_point(name: str, module: str, attribute: str, variable: str) -> Card | None:
    """The card of an entry point from its source; None if the source or what it names is not found there.

    Packages that the module is in are imported, the module itself is not.

    Args:
        name: of the entry point.
        module, attribute: what it names; without an attribute, whatever the module registers under `name`.
        variable: the name under which the module knows the registry.

    Raises:
        UserError: a name or a fact is no literal, or the decorator says another name.
    """
    place = f"{module}:{attribute}" if attribute else module
    spec = find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    for node in _definitions(Path(spec.origin).read_text(encoding="utf-8")):
        registered = dict(_registered(node, variable, module))
        if node.name == attribute and registered and name not in registered:
            raise UserError(
                f"entry point {name!r} names {place}, which registers itself as {next(iter(registered))!r}",
                "give both the same name",
            )
        if node.name == attribute or (not attribute and name in registered):
            return _card(node, name, place, registered.get(name, {}))
    return None


def _definitions(text: str) -> Iterator[Definition]:
    for node in ast.parse(text).body:
        if isinstance(node, Definition):
            yield node


def _registered(node: Definition, variable: str, module: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Names and facts with which a definition registers itself."""
    for decorator in node.decorator_list:
        match decorator:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=base), attr="register")) if base == variable:
                try:
                    (name,) = (ast.literal_eval(one) for one in decorator.args)
                    facts = {str(one.arg): ast.literal_eval(one.value) for one in decorator.keywords}
                except ValueError:
                    name, facts = None, {}
                if not isinstance(name, str) or "None" in facts:
                    raise UserError(
                        f"expected literals in @{variable}.register(...) of {module}.{node.name}, "
                        f"got {ast.unparse(decorator)}",
                        "write the name as text, and facts as keywords without variables",
                    )
                yield name, facts


def _card(node: Definition, name: str, module: str, facts: Mapping[str, object]) -> Card:
    text = ast.get_docstring(node) or ""
    attributes = dict(_attributes(node)) if isinstance(node, ast.ClassDef) else {}
    summary = text.splitlines()[0] if text else ""
    return Card(name=name, module=module, summary=summary, text=text, facts=facts, attributes=attributes)


def _attributes(node: ast.ClassDef) -> Iterator[tuple[str, object]]:
    """Names and values of a class's literal attributes."""
    for statement in node.body:
        match statement:
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.Assign(targets=[ast.Name(id=name)], value=value)
            ):
                try:
                    yield name, ast.literal_eval(value)
                except (ValueError, TypeError):
                    continue  # computed when the class is made
