"""The digest of one adversary's code and settings, which says whether a calibration still speaks of it.

The code is that of the adversary's file and of what it computes with; docstrings, comments and empty lines do not
count, nor does the structure around it (views, goals, grading). Imports no torch.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adversaries.registries import ADVERSARIES

COMPUTES = ("adversaries.", "vfc.training", "vfc.seeding")
"""Modules that take part in what an adversary computes begin like this, ..."""

STRUCTURE = frozenset(
    f"adversaries.{name}"
    for name in (
        "adversary", "assess", "attacker", "evidence", "goal", "health", "image_metrics", "levels", "ratios",
        "registries", "special", "stats", "threat", "view", "world", "worst_class",
    )
)  # fmt: skip
"""... these excepted."""

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
    code = _code(card.module) if card is not None and ":" not in card.module else ""
    text = json.dumps([adversary, kept, code], sort_keys=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _code(module: str) -> str:
    """Digest of a module and of everything that it computes with."""
    total, waiting, seen = [], [module], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        source = _source(name)
        if source is None:
            continue
        total.append((name, hashlib.sha256(essence(source).encode()).hexdigest()))
        waiting += [found for found in _imports(source) if found.startswith(COMPUTES) and found not in STRUCTURE]
    return hashlib.sha256(json.dumps(sorted(total)).encode()).hexdigest()


def essence(source: str) -> str:
    """Source without docstrings, lines of comments and empty lines; the same on every version of Python."""
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                # Texts under fields and constants are documentation too.
                case ast.Expr(value=ast.Constant(value=str())):
                    dropped |= set(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    lines = source.splitlines()
    kept = [line.rstrip() for number, line in enumerate(lines, 1) if number not in dropped]
    return "\n".join(line for line in kept if line and not line.lstrip().startswith("#"))


def _imports(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def _source(module: str) -> str | None:
    """Source of a module, read without importing it; None if there is no such module."""
    package, _, name = module.rpartition(".")
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / f"{name}.py"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return None
