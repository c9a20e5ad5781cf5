"""`vfc cache`: what the cache holds, what of it may go, and whether it is whole."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from protocols.commands.output import printing
from protocols.engine.cache import CachedPart, cached_parts, chosen_to_go, parse_age, parse_size, remove
from vfc.config import user_cache_folder
from vfc.errors import UserError

_STEPS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def run_list_cache() -> int:
    """Print a line for each kind of part, and return 0."""
    kinds: dict[str, list[CachedPart]] = defaultdict(list)
    for part in cached_parts():
        kinds[part.what].append(part)
    table = Table("what", "parts", "size", "last used", box=None)
    for what, parts in sorted(kinds.items()):
        newest = max(part.used for part in parts)
        table.add_row(what, f"{len(parts):,}", shown_size(_total(parts)), shown_age(time.time() - newest))
    everything = [part for parts in kinds.values() for part in parts]
    with printing():
        if everything:
            Console(highlight=False).print(table)
        sys.stdout.write(f"{shown_size(_total(everything))} in {user_cache_folder()}\n")
    return 0


def run_prune(*, size: str | None, age: str | None, everything: bool, dry_run: bool) -> int:
    """Remove parts, and return 0.

    Raises:
        UserError: nothing says what may go, a size or a time cannot be read, or a run is using the cache.
    """
    if size is None and age is None and not everything:
        raise UserError("expected what may go, got nothing", "give --size 20GB, --age 30d or --all")
    most = 0 if everything else None if size is None else parse_size(size)
    parts = cached_parts()
    going = chosen_to_go(parts, size=most, age=None if age is None else parse_age(age))
    if not dry_run and going:
        remove(going)
    verb = "would be removed" if dry_run else "removed"
    left = shown_size(_total(parts) - _total(going))
    with printing():
        sys.stdout.write(f"{len(going):,} parts, {shown_size(_total(going))}, {verb}; {left} stay\n")
    return 0


def run_verify(*, clean: bool) -> int:
    """Name every damaged part; 0 if all are whole or the damaged ones were removed, else 2.

    Raises:
        UserError: parts are damaged and stay, or a run is using the cache.
    """
    from protocols.engine.task import load_outcome
    from vfc.artifact import is_whole

    parts, damaged = cached_parts(), []
    for part in parts:
        wrong: list[object] = []
        if part.kind == "cells":
            load_outcome(part.path, wrong.append)
        elif not is_whole(part.path):
            wrong.append(part.path)
        damaged += [part] * bool(wrong)
    with printing():
        for part in damaged:
            sys.stdout.write(f"damaged: {part.path}\n")
        sys.stdout.write(f"{len(parts) - len(damaged):,} of {len(parts):,} parts are whole\n")
    if damaged and not clean:
        raise UserError(
            f"expected a whole cache, got {len(damaged)} damaged parts",
            "vfc cache verify --remove; runs make again what they need",
        )
    if damaged:
        _removed(damaged)
    return 0


def _removed(parts: Sequence[CachedPart]) -> None:
    remove(parts)
    with printing():
        sys.stdout.write(f"{len(parts)} damaged parts removed\n")


def _total(parts: Sequence[CachedPart]) -> int:
    return sum(part.size for part in parts)


def shown_size(size: int) -> str:
    """Bytes for people: `1.2 GB`."""
    for step, unit in _STEPS:
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} bytes"


def shown_age(seconds: float) -> str:
    """A time that has passed, for people."""
    for step, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * step:
            return f"{seconds / step:.0f} {unit} ago"
    return "just now"
