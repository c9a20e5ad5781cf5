"""Typed registries whose names and cards are read from source, without importing what they name.

A registered thing is one class or function in one file of the registry's package or of a folder in it, decorated with
`@REGISTRY.register("name")` using a literal name and, where the registry knows some, literal facts as keywords.
`vfc list` reads those names and facts, and the docstrings as cards, with `ast`; only `get` imports the file. Third
parties add theirs with entry points in the registry's group.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar

from vfc.cards import Card as Card
from vfc.cards import read_cards, read_entry_point
from vfc.errors import UserError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes or functions of one kind.

    Args:
        kind: the word for one entry, as errors say it.
        package: the package whose files hold the entries.
        variable: the name under which those files know this registry.
        group: the entry-point group of third parties.
        facts: keywords that `register` takes, which land on the card.
    """

    def __init__(self, kind: str, package: str, variable: str, group: str, facts: tuple[str, ...] = ()) -> None:
        self.kind, self.package, self.variable, self.group, self.facts = kind, package, variable, group, facts
        self._entries: dict[str, T] = {}
        self._facts: dict[str, dict[str, object]] = {}

    def register(self, name: str, **facts: object) -> Callable[[T], T]:
        """Register a class or function under `name`; a second owner of a name is an error.

        Args:
            name: a literal text.
            facts: literals, which `cards` reads from the source.
        """
        self._check(name, facts)

        def add(entry: T) -> T:
            known = self._entries.setdefault(name, entry)
            if known is not entry and getattr(known, "__qualname__", "") != getattr(entry, "__qualname__", ""):
                raise UserError(f"two {self.kind}s are called {name!r}: {known!r} and {entry!r}", "rename one")
            self._entries[name], self._facts[name] = entry, facts
            return entry

        return add

    @cached_property
    def cards(self) -> dict[str, Card]:
        """A card for every name, sorted by name; imports neither the entries nor what they need.

        Only an entry point whose source cannot be found is imported.

        Raises:
            UserError: two entries have one name; or a card cannot be read.
        """
        found: dict[str, tuple[Card, str]] = {}
        for card, owner in (*self._ours(), *self._of_third_parties()):
            if card.name in found:
                both = f"{found[card.name][1]} and {owner}"
                raise UserError(f"two {self.kind}s are called {card.name!r}, in {both}", "rename one")
            self._check(card.name, card.facts)
            found[card.name] = card, owner
        return {name: found[name][0] for name in sorted(found)}

    def get(self, name: str) -> T:
        """The entry called `name`.

        Raises:
            UserError: nobody registered that name; or its entry point cannot be loaded.
        """
        if name not in self._entries:
            card = self.cards.get(name)
            if card is None:
                raise unknown(self.kind, name, {**self.cards, **self._entries})
            points = tuple(entry_points(group=self.group, name=name))
            if points:
                return self._load(points[0])
            importlib.import_module(card.module)
        return self._entries[name]

    def name_of(self, entry: object) -> str:
        """How users type an entry: its registered name, or its own where nobody registered it."""
        own = str(getattr(entry, "__name__", type(entry).__name__))
        return next((name for name, known in self._entries.items() if known is entry), own)

    def _check(self, name: str, facts: Iterable[str]) -> None:
        """Refuse facts that this registry does not know."""
        for fact in facts:
            if fact not in self.facts:
                raise unknown(f"fact of {self.kind} {name!r}", fact, self.facts)

    def _ours(self) -> Iterator[tuple[Card, str]]:
        """Cards of the files of this registry's package, in subfolders too, each with its module."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                module = ".".join((self.package, *path.relative_to(folder).with_suffix("").parts))
                for card in read_cards(path, module, self.variable):
                    yield card, module

    def _of_third_parties(self) -> Iterator[tuple[Card, str]]:
        """Cards of the entry points of installed packages, each with what it names and the package."""
        for point in entry_points(group=self.group):
            package = f" of {point.dist.name} {point.dist.version}" if point.dist is not None else ""
            yield self._card(point), f"{point.value}{package}"

    def _card(self, point: EntryPoint) -> Card:
        """The card of an entry point; it is imported only if its source is not found."""
        try:
            card = read_entry_point(point.name, point.module, point.attr or "", self.variable)
        except (ImportError, ValueError, OSError, SyntaxError):
            card = None  # loading it says what is wrong
        if card is not None:
            return card
        text = inspect.getdoc(self._load(point)) or ""
        return Card(
            name=point.name,
            module=point.value,
            summary=text.splitlines()[0] if text else f"from {point.value}",
            text=text,
            facts=self._facts.get(point.name, {}),
        )

    def _load(self, point: EntryPoint) -> T:
        """Import what an entry point names.

        Raises:
            UserError: it cannot be imported, or registers nothing under the entry point's name.
        """
        try:
            loaded = point.load()
        except Exception as error:  # whatever a package of somebody else's raises
            raise UserError(
                f"cannot load {self.kind} {point.name!r} from {point.value}: {type(error).__name__}: {error}",
                "repair or uninstall the package that declares it",
            ) from error
        if not point.attr and point.name not in self._entries:
            raise UserError(
                f"expected {point.value} to register {self.kind} {point.name!r}, got nothing of that name",
                f"name what it is in the entry point: {point.name} = '{point.value}:CLASS'",
            )
        return self._entries.setdefault(point.name, loaded)
