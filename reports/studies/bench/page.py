"""The bench as one page without scripts that fetches nothing. Imports no torch."""

from __future__ import annotations

from markupsafe import Markup

from reports.formats.page import render_page
from reports.model.harmless import clean
from reports.studies.bench.columns import COLUMNS, Column
from reports.studies.bench.data import Bench, Row
from reports.studies.bench.drawing import PANELS, STYLE, draw
from reports.studies.bench.notes import BESIDE, answer, beside, mark_of, notes, secret_of
from reports.studies.bench.tables import CHOSEN, bounds, shown, spent, title

WHOLE = 20
"""Longest name that is never broken."""


def render_bench_html(bench: Bench) -> str:
    """The page.

    Args:
        bench: what was measured.
    """
    return render_page("bench", _Page(bench))


class _Page:
    """What the template asks for."""

    style, columns, choice, beside = Markup(STYLE), COLUMNS, CHOSEN, BESIDE

    def __init__(self, bench: Bench) -> None:
        self.bench, self.title = bench, title(bench)
        self.answer = answer(bench)
        self.notes = notes(bench)[len(self.answer) :]
        self.printed = [line for row in bench.rows for line in beside(row)]
        self.reasons = list(dict.fromkeys(line[-1] for line in self.printed))

    @property
    def drawings(self) -> list[tuple[str, Markup]]:
        """Titles and drawings of the panels that have a point."""
        found = [(name, draw(self.bench, key, name)) for key, name in PANELS]
        return [(name, drawn) for name, drawn in found if drawn]

    def cell(self, row: Row, column: Column) -> tuple[str, list[str]]:
        """A number and the lines that stand below it."""
        value = row.values.get(column.key)
        below = [bounds(value)]
        if column.key == "worst_leakage" and row.worst:
            below.insert(0, row.worst)
        return shown(value), [line for line in below if line]

    def name(self, row: Row) -> Markup:
        """A row's name; one of usual length is kept on its line, for a hyphen in it is none to break at."""
        word = clean(row.name)
        return Markup('<span class="whole">{}</span>').format(word) if len(word) <= WHOLE else Markup.escape(word)

    def why(self, row: Row, column: Column) -> str:
        """Why a number is unknown."""
        value = row.values.get(column.key)
        return "" if value is None or value.value is not None else value.reason or ""

    def mark(self, row: Row) -> str:
        """The mark of a row whose attacks nobody vouches for."""
        return mark_of(row)

    def spent(self, row: Row) -> tuple[str, ...]:
        """Seconds of fitting, publishing and attacking."""
        return tuple(each or "-" for each in spent(row))

    def secret(self, row: Row) -> str:
        """The declared secret."""
        return secret_of(row)
