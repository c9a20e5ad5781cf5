"""The terminal report's tables: who reads the release how well, and where each headline number comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from adversaries.evidence import Value
from reports.catalog import lookup
from reports.headline import sources
from reports.lineup import Attempt, Lineup
from reports.suppression import WITHOUT_LABELS, Cell, Row, suppression
from reports.words import LEVELS, figure, number, operators, short, span
from vfc.errors import UserError

WIDE = 150
"""Consoles of this width take the whole suppression table at once, with intervals."""

_ARMS = ("attack", "floor", "ceiling", "shuffled", "undefended")
_Laid = tuple[Text, list[Text]]


def table(*headers: str, tight: bool = False) -> Table:
    """An open table whose cells fold instead of being cut; `tight` leaves one space between columns instead of two."""
    padding = (0, 0 if tight else 1, 0, 0)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for header in headers:
        made.add_column(Text(header, "bold"), overflow="fold")
    return made


class Suppression:
    """The suppression table: unintended models, the target, the floor, and probes without a model.

    Args:
        lineup: the attempts; every text in its report is harmless already.
        width: of the console.
    """

    def __init__(self, lineup: Lineup, width: int) -> None:
        self.lineup, self.wide = lineup, width >= WIDE
        self.tight = width < 100 and len(lineup.grid) > 4

    def tables(self) -> list[Table]:
        """One table with intervals where there is room, else one without labels and one with."""
        plain_heads, label_heads = [*WITHOUT_LABELS], [f"K = {labels}" for labels in self.lineup.grid]
        rows = suppression(self.lineup)
        models = [row for row in rows if row.kind in ("model", "twin")]
        others = [row for row in rows if row.kind in ("target", "floor")]
        probes = [row for row in rows if row.kind == "probe"]
        if self.wide:
            whole = table("", *plain_heads, *label_heads)
            for block in (models, others, probes):
                self._fill(whole, [(self._name(row), self._without(row) + self._labelled(row)) for row in block])
            return [whole]
        without = table("", *plain_heads, tight=self.tight)
        self._fill(without, [(self._name(row), self._without(row)) for row in models])
        self._fill(without, [(self._name(row), self._without(row)) for row in others])
        if not label_heads:
            return [without]
        with_labels = table("", *label_heads, tight=self.tight)
        self._fill(with_labels, [(self._name(row), self._labelled(row)) for row in models])
        self._fill(with_labels, [(self._name(row), self._labelled(row)) for row in probes])
        return [without, with_labels]

    def _fill(self, into: Table, rows: Sequence[_Laid]) -> None:
        """One block of rows."""
        for name, cells in rows:
            if name.plain.endswith("near twin"):
                into.add_section()
            into.add_row(name, *cells)
        into.add_section()

    def _name(self, row: Row) -> Text:
        if row.kind in ("target", "floor"):
            return Text(row.name, f"bold {'green' if row.kind == 'target' else 'yellow'}")
        if row.kind == "probe":
            return Text(f"{short(row.name)} probe")
        text = Text(short(row.name), "bold")
        return text.append("\nnear twin", "italic") if row.kind == "twin" else text

    def _without(self, row: Row) -> list[Text]:
        return [self.cell(part) for part in row.without] or [Text("-") for _ in WITHOUT_LABELS]

    def _labelled(self, row: Row) -> list[Text]:
        return [self.cell(part) for part in row.labelled] or [Text("-") for _ in self.lineup.grid]

    def cell(self, part: Cell) -> Text:
        """A number, what it came from, and below it the interval where there is room."""
        if part.value is None or part.value.value is None:
            return Text(part.word)
        text = Text(number(part.value.value))
        if part.mark:
            text.append(f" {short(part.mark, 12)}", "dim")
        return text.append(f"\n{span(part.value)}", "dim") if self.wide else text


def chosen_table(lineup: Lineup, width: int) -> Table | None:
    """Who was chosen for each headline number, with all arms side by side; None without any."""
    made = table("number", "chosen, level", *_ARMS, tight=width < 100)
    for title, name, attempt in sources(lineup):
        if attempt is None:
            value = lineup.report.metrics[name]
            made.add_row(Text(title, "bold"), Text("the report does not tell"), _arm(value), *[Text("-")] * 4)
        else:
            made.add_row(Text(title, "bold"), _who(attempt), *(_arm(attempt.arm(arm)) for arm in _ARMS))
    task = f"task:{lineup.report.dataset.task}"
    for attempt in lineup.attempts:
        if attempt.chosen and attempt.goal != task:
            labels = "" if attempt.labels is None else f"\nK = {attempt.labels}"
            goal = Text(f"{short(attempt.goal)}{labels}", "bold")
            made.add_row(goal, _who(attempt), *(_arm(attempt.arm(arm)) for arm in _ARMS))
    return made if made.row_count else None


def other_numbers(lineup: Lineup, shown: Sequence[str], width: int) -> Table | None:
    """Every other number that was measured, in words of the catalog; None without any."""
    made, toward = table("number", "value", "meaning"), operators(lineup.report)
    for name, value in sorted(lineup.report.metrics.items()):
        if name in shown or value.value is None:
            continue
        unit = f" {value.unit}" if value.unit in ("dB", "bits", "nats", "dimensions") else ""
        made.add_row(Text(name), Text(figure(value, toward.get(name, frozenset())) + unit), Text(_meaning(name), "dim"))
    if width < 100:
        made.columns.pop()
    return made if made.row_count else None


def _who(attempt: Attempt) -> Text:
    return Text(short(attempt.name, 40)).append(f"\n{attempt.level} {LEVELS.get(attempt.level, '')}", "dim")


def _arm(value: Value | None) -> Text:
    if value is None or value.value is None:
        return Text("-")
    return Text(number(value.value)).append(f"\n{span(value)}", "dim")


def _meaning(name: str) -> str:
    try:
        return lookup(name).meaning
    except UserError:
        return ""
