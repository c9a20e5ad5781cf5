"""The digest of one adversary's code and settings, which says whether a calibration still speaks of it.

The code is what computes, not where it stands: the adversary's class and every top-level definition that it reaches.
Files may be moved, split and renamed, and definitions too; a definition that is marked as structure (views, errors,
base classes) does not count, whatever it does. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from adversaries.calibration.content import Content
from adversaries.calibration.definitions import OURS, Definition, Tree
from adversaries.registries import ADVERSARIES

VARIES = frozenset({"model", "graded", "pairs", "read_by"})
"""What does not change who an adversary is: the unintended model that it starts from or that reads what it rebuilt, how
many pairs it was granted, and what was graded."""


def digest_of(adversary: str, settings: Mapping[str, Any]) -> str:
    """Digest of a registered adversary's code and of its settings.

    Args:
        adversary: its name; one that nobody registered is known by its settings alone.
        settings: its options, JSON-ready.
    """
    kept = {name: value for name, value in settings.items() if name not in VARIES}
    card = ADVERSARIES.cards.get(adversary)
    code = _code(card.module, adversary) if card is not None else ""
    text = json.dumps([adversary, kept, code], sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _code(place: str, name: str) -> str:
    """Digest of the code of a registered adversary; empty if its source cannot be found.

    Args:
        place: the file that registers it, or `module:class` of an entry point.
        name: under which it is registered.
    """
    module, _, attribute = place.partition(":")
    package = module.partition(".")[0]
    content = _content() if package in OURS else _content(package)
    root: Definition | str | None
    if attribute:
        root, _ = content.tree.find(f"{module}.{attribute}")
    else:
        root = content.registered(module, name)
    return content.digest(root) if isinstance(root, Definition) else ""


@cache
def _content(*others: str) -> Content:
    """Definitions of the toolkit's packages and of others."""
    return Content(Tree((*OURS, *others)))
