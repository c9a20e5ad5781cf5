"""Typed registries whose names and cards are read from source, without importing what they name.

A registered thing is one class or function in one file of the registry's package or of a folder in it, decorated with
`@REGISTRY.register("name")` using a literal name. `vfc list` reads those names, and the docstrings as cards, with
`ast`; only `get` imports the file. Third parties add theirs with entry points in the registry's group.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from vfc.errors import UserError, unknown

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a registry says of one entry without importing it."""

    name: str
    module: str
    summary: str
    text: str


class Registry(Generic[T]):
    """Names to classes or functions of one kind.

    Args:
        kind: the word for one entry, as errors say it.
        package: the package whose files hold the entries.
        variable: the name under which those files know this registry.
        group: the entry-point group of third parties.
    """

    def __init__(self, kind: str, package: str, variable: str, group: str) -> None:
        self.kind, self.package, self.variable, self.group = kind, package, variable, group
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Register a class or function under `name`; a second owner of a name is an error."""

        def add(entry: T) -> T:
            known = self._entries.setdefault(name, entry)
            if known is not entry and getattr(known, "__qualname__", "") != getattr(entry, "__qualname__", ""):
                raise UserError(f"two {self.kind}s are called {name!r}: {known!r} and {entry!r}", "rename one")
            self._entries[name] = entry
            return entry

        return add

    @cached_property
    def cards(self) -> dict[str, Card]:
        """A card for every name, sorted by name; imports neither the entries nor what they need."""
        found: dict[str, Card] = {}
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                for card in self._read(path, Path(folder)):
                    if card.name in found:
                        owners = f"{found[card.name].module} and {card.module}"
                        raise UserError(f"two {self.kind}s are called {card.name!r}, in {owners}", "rename one")
                    found[card.name] = card
        for point in entry_points(group=self.group):
            if point.name in found:
                raise UserError(
                    f"two {self.kind}s are called {point.name!r}, in {found[point.name].module} and {point.value}",
                    "rename the entry point",
                )
            found[point.name] = Card(name=point.name, module=point.value, summary=f"from {point.value}", text="")
        return dict(sorted(found.items()))

    def get(self, name: str) -> T:
        """The entry called `name`.

        Raises:
            UserError: nobody registered that name.
        """
        if name not in self._entries:
            card = self.cards.get(name)
            if card is None:
                raise unknown(self.kind, name, {**self.cards, **self._entries})
            if ":" in card.module:
                (point,) = entry_points(group=self.group, name=name)
                return self._entries.setdefault(name, point.load())
            importlib.import_module(card.module)
        return self._entries[name]

    def _read(self, path: Path, folder: Path) -> list[Card]:
        text = path.read_text(encoding="utf-8")
        if f"@{self.variable}.register(" not in text:  # most files of a large package hold no entry
            return []
        module = ".".join((self.package, *path.relative_to(folder).with_suffix("").parts))
        cards = []
        for node in ast.parse(text).body:
            if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                continue
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id=self.variable), attr="register"),
                        args=[ast.Constant(value=str(name))],
                    ):
                        card = ast.get_docstring(node) or ""
                        summary = card.splitlines()[0] if card else ""
                        cards.append(Card(name=name, module=module, summary=summary, text=card))
        return cards
