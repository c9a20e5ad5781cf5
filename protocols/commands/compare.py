"""`vfc compare`: what moved between reports, and whether that is noise. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from protocols.commands.output import printing, write_formats
from reports.formats.moved import NOISE, apart, render_moved
from reports.gate.baseline import described
from reports.gate.compare import Change, compare
from reports.model.harmless import clean, short
from reports.model.numbers import figure
from reports.model.report import INTERRUPTED
from reports.model.storage import load, load_rows
from vfc.errors import UserError

_HEAD = ("metric", "old", "new", "difference", "is it noise?", "how it was compared")


def run_compare(paths: Sequence[str], files: Mapping[str, str]) -> int:
    """Compare every report with the first one and return 0; judging is what `vfc gate --baseline` does.

    Args:
        paths: the old report and the new ones.
        files: file by format: markdown, for the comment on a pull request.

    Raises:
        UserError: fewer than two reports, one that cannot be used, or a file that cannot be written.
    """
    if len(paths) < 2:
        raise UserError(f"expected at least two reports, got {len(paths)}", "vfc compare OLD NEW")
    old = load(paths[0])
    old_rows = load_rows(paths[0], old)
    others = [(path, load(path)) for path in paths[1:]]
    texts = []
    with printing():
        for path, new in others:
            if new.dataset.task != old.dataset.task:
                raise UserError(
                    f"expected reports of task {old.dataset.task}, got {new.dataset.task} in {path}",
                    "compare reports of the same task",
                )
            changes = compare(old, old_rows, new, load_rows(path, new))
            texts.append(render_moved(old, new, changes))
            names = f"{short(clean(old.release.name))} -> {short(clean(new.release.name))}"
            sys.stdout.write(f"{names} ({clean(paths[0])} -> {clean(path)}): {described(old, new)}.\n")
            for place, each in ((paths[0], old), (path, new)):
                if each.status == "partial":
                    sys.stdout.write(f"{clean(place)}: {INTERRUPTED}, so stronger attacks may be missing.\n")
            sys.stdout.write("Each line is a test of its own at the 95 % level.\n\n")
            sys.stdout.write(_table([_HEAD, *map(_cells, changes)]))
            moved = [found.metric for found in changes if found.verdict == "worse"]
            listed = ", ".join(clean(name) for name in moved) or "nothing"
            sys.stdout.write(f"\nworse beyond noise: {listed}\n\n")
    write_formats(paths, files, {"markdown": lambda: "\n".join(texts)})
    return 0


def _cells(found: Change) -> tuple[str, ...]:
    return (
        short(clean(found.metric), 44),
        short(clean(figure(found.old)), 28),
        short(clean(figure(found.new)), 28),
        apart(found),
        NOISE[found.verdict],
        found.method,
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"
