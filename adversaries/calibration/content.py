"""Digests of definitions by their content: what they compute, with everything that they compute with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from adversaries.calibration.canonical import Parameter, Text, registered_as, text_of
from adversaries.calibration.definitions import Definition, Tree

STRUCTURE = "structure"
"""Stands for every definition that is marked as structure, whatever it is called and does."""


class Content:
    """Definitions by their content.

    Args:
        tree: where they are looked up.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._texts: dict[Definition, Text] = {}

    def registered(self, module: str, name: str) -> Definition | None:
        """What a file registers under a name, or everything in it if that is not found; None without such a file."""
        found = self.tree.module(module)
        if found is None:
            return None
        for own, statements in found.statements.items():
            decorators = (one for statement in statements for one in getattr(statement, "decorator_list", []))
            if any(registered_as(one) == name for one in decorators):
                return Definition(module, own)
        return Definition(module, "")

    def digest(self, root: Definition) -> str:
        """Digest of a definition and of everything that it reaches. A marked definition counts if it is the root."""
        texts = self.reached(root)
        keywords = frozenset[str]().union(*(text.keywords for text in texts.values()))
        digests: dict[Definition, str] = {}
        for circle in circles({own: [to for to in text.definitions if to in texts] for own, text in texts.items()}):
            known = digests | dict.fromkeys(circle, "")
            # Definitions that refer to each other: every round tells them apart by what is one step further away.
            for _ in circle:
                known |= {own: _hash(_rendered(texts[own], known, keywords)) for own in circle}
            digests |= {own: known[own] for own in circle}
        return digests[root]

    def reached(self, root: Definition) -> dict[Definition, Text]:
        """The canonical texts of a definition and of everything that it reaches, without structure."""
        found: dict[Definition, Text] = {}
        waiting = [root]
        while waiting:
            own = waiting.pop()
            module = self.tree.module(own.module)
            if own in found or module is None or (own.name in module.structure and own != root):
                continue
            if own not in self._texts:
                self._texts[own] = text_of(own, module, self.tree)
            found[own] = self._texts[own]
            waiting += found[own].definitions
        return found


def circles(graph: Mapping[Definition, list[Definition]]) -> Iterator[list[Definition]]:
    """Groups of definitions that reach each other, each after everything that it reaches besides.

    Source: Tarjan, Depth-first search and linear graph algorithms, 1972, doi:10.1137/0201010.
    """
    index: dict[Definition, int] = {}
    low: dict[Definition, int] = {}
    stack: list[Definition] = []
    inside: set[Definition] = set()

    def visit(own: Definition) -> Iterator[list[Definition]]:
        index[own] = low[own] = len(index)
        stack.append(own)
        inside.add(own)
        for to in graph[own]:
            if to not in index:
                yield from visit(to)
                low[own] = min(low[own], low[to])
            elif to in inside:
                low[own] = min(low[own], index[to])
        if low[own] == index[own]:
            group = stack[stack.index(own) :]
            del stack[stack.index(own) :]
            inside.difference_update(group)
            yield group

    for own in graph:
        if own not in index:
            yield from visit(own)


def _rendered(text: Text, digests: Mapping[Definition, str], keywords: frozenset[str]) -> str:
    pieces = []
    for part in text.parts:
        match part:
            case str():
                pieces.append(part)
            case Definition():
                pieces.append(f"<{digests.get(part, STRUCTURE)}>")
            case Parameter(name=name, number=number):
                pieces.append(f"<{name if name in keywords else number}>")
    return "".join(pieces)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
