"""The leaderboard as one page without scripts that fetches nothing, and on a terminal. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console

from reports.formats.page import render_page
from reports.formats.tables import harmless, table
from reports.model.numbers import figure
from reports.studies.bench.columns import COLUMNS, Column, read
from reports.studies.bench.tables import bounds, shown
from reports.studies.leaderboard.board import Line
from reports.studies.suite.tables import granted

KEYS = ("retention", "transfer_ratio", "at_1", "at_10", "at_all", "labels_to_90", "worst_leakage")
"""Columns of the bench that the page shows."""

MEANINGS = {
    "claimed": "nobody has confirmed it here",
    "reproduced": "our report confirms every limit that it claims, on the condition beside it if there is one",
    "externally attacked": "others have attacked it on a frozen suite, and none is clearly ahead of our own attacks",
    "unreliable": "somebody's graded attack is clearly ahead of ours: our numbers are too low to rely on",
    "withdrawn": "its authors have withdrawn it",
}


def render_board_html(lines: Sequence[Line]) -> str:
    """The page.

    Args:
        lines: the entries, in order.
    """
    return render_page("leaderboard", _Page(lines))


def render_board(lines: Sequence[Line], console: Console) -> None:
    """Print one line an entry.

    Args:
        lines: the entries, in order.
        console: where to print; its width, colors and encoding are respected.
    """
    drawn = table("entry", "status", "@10", "labels to 90 %", "attacks by others", "why")
    for line in lines:
        cells = [line.name, line.status, *(cell(line, key)[0] for key in ("at_10", "labels_to_90"))]
        drawn.add_row(*(harmless(text, console) for text in (*cells, str(len(line.attacks)), line.why)))
    console.print(drawn)


def board_json(lines: Sequence[Line]) -> str:
    """Everything as data: entries, what became of them, and the digests of what they rest on."""
    found = [
        {
            "entry": line.entry.model_dump(mode="json"),
            "status": line.status,
            "why": line.why,
            "claims": [
                {"gate": each.expr, "outcome": each.outcome, "reason": each.reason, "condition": each.condition}
                for each in line.claims
            ],
            "external": [each.model_dump(mode="json", by_alias=True) for each in line.grades],
        }
        for line in lines
    ]
    return json.dumps({"schema": 1, "entries": found}, sort_keys=True, indent=2, allow_nan=False) + "\n"


def cell(line: Line, key: str) -> tuple[str, str]:
    """A number of an entry's report and what stands below it."""
    if line.report is None:
        return "-", ""
    column = next(each for each in COLUMNS if each.key == key)
    value, about = read(line.report, column)
    return shown(value), f"{about} {bounds(value)}".strip()


class _Page:
    """What the template asks for."""

    meanings = MEANINGS
    cell, figure, granted = staticmethod(cell), staticmethod(figure), staticmethod(granted)

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines

    @property
    def columns(self) -> list[Column]:
        """Columns of numbers."""
        return [column for column in COLUMNS if column.key in KEYS]

    def count(self, status: str) -> int:
        """How many entries have a status."""
        return sum(line.status == status for line in self.lines)

    def link(self, text: str) -> str:
        """An address that may be followed; empty for any other text."""
        return text if text.startswith(("https://", "http://")) else ""
