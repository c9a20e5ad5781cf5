"""The terminal report's tables: accuracy on the release, where each number comes from, and the worst cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from adversaries.evidence import ARMS, Value
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import meaning
from reports.model.harmless import clean, short
from reports.model.numbers import figure, number, plain, span
from reports.model.pictures import AccuracyTable, Cell, Row
from reports.text.phrases import granted, operators
from reports.text.sections import WORST_ARMS, worst_cases

WIDE = 150
"""Consoles of this width take the whole accuracy table at once, with intervals."""

_Laid = tuple[Text, list[Text]]


def table(*headers: str, tight: bool = False) -> Table:
    """An open table whose cells fold instead of being cut; `tight` leaves one space between columns instead of two."""
    padding = (0, 0 if tight else 1, 0, 0)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for header in headers:
        made.add_column(Text(header, "bold"), overflow="fold")
    return made


def harmless(text: str, console: Console, style: str = "") -> Text:
    """A text of a file for a console: nothing in it commands a terminal, and the console's encoding holds it."""
    return Text(clean(text, plain=console.options.ascii_only), style)


class Accuracies:
    """An accuracy table: unintended models, the target model, the floor, and probes without a model.

    Args:
        drawn: its rows; every text in it is harmless already.
        width: of the console.
    """

    def __init__(self, drawn: AccuracyTable, width: int) -> None:
        self.drawn, self.wide = drawn, width >= WIDE
        self.tight = width < 100 and len(drawn.grid) > 4

    def tables(self) -> list[Table]:
        """One table with intervals where there is room, else one without labels and one with."""
        plain_heads, label_heads = [*self.drawn.without], [f"K = {labels}" for labels in self.drawn.grid]
        models, references, probes = (
            [row for row in self.drawn.rows if row.kind in kinds]
            for kinds in (("model", "twin"), ("target", "floor"), ("probe",))
        )
        if self.wide:
            whole = table("", *plain_heads, *label_heads)
            for block in (models, references, probes):
                self._fill(whole, [(self._name(row), self._without(row) + self._labelled(row)) for row in block])
            return [whole]
        without = table("", *plain_heads, tight=self.tight)
        self._fill(without, [(self._name(row), self._without(row)) for row in models])
        self._fill(without, [(self._name(row), self._without(row)) for row in references])
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
        return [self.cell(part) for part in row.without] or [Text("-") for _ in self.drawn.without]

    def _labelled(self, row: Row) -> list[Text]:
        return [self.cell(part) for part in row.labelled] or [Text("-") for _ in self.drawn.grid]

    def cell(self, part: Cell) -> Text:
        """A number, what it came from, and below it the interval where there is room."""
        if part.value is None or part.value.value is None:
            return Text(part.word)
        text = Text(number(part.value.value))
        if part.mark:
            text.append(f" {short(part.mark, 12)}", "dim")
        return text.append(f"\n{span(part.value)}", "dim") if self.wide else text


def arms_table(entries: Iterable[tuple[str, Attempt | None, Value | None]], width: int) -> Table | None:
    """The attempts behind numbers, with all arms side by side; None without any.

    Args:
        entries: a title, the attempt (None if the report does not tell), and the number.
        width: of the console.
    """
    made = table("number", "chosen, level", *ARMS, tight=width < 100)
    for title, attempt, value in entries:
        head = Text(title.replace(", ", "\n"), "bold")
        if attempt is None:
            made.add_row(head, Text("the report does not tell"), _arm(value), *[Text("-")] * 4)
        else:
            made.add_row(head, _attempt(attempt), *(_arm(attempt.arm(arm)) for arm in ARMS))
    return _whole_words(made, width) if made.row_count else None


def numbers_table(index: AttemptIndex, entries: Iterable[tuple[str, Value]], width: int) -> Table | None:
    """Numbers with what the catalog says of them; None without any."""
    made, toward = table("number", "value", "meaning"), operators(index.report)
    for name, value in entries:
        text = figure(value, toward.get(name, frozenset()), unit=True)
        made.add_row(Text(name), Text(text), Text(meaning(name), "dim"))
    if width < 100:
        made.columns.pop()
    return made if made.row_count else None


def worst_table(index: AttemptIndex, width: int) -> Table | None:
    """The worst case of every protocol; None unless there are several."""
    shown_arms = WORST_ARMS if width >= 100 else WORST_ARMS[1:]
    made = table("protocol", "value", "strongest, level", *shown_arms, "flags", tight=width < 100)
    toward = operators(index.report)
    for worst in worst_cases(index):
        name = Text(worst.protocol, "bold")
        if worst.value is None or worst.value.value is None:
            made.add_row(name, Text("-"), Text(worst.reason, "dim"), *[Text("-")] * (len(shown_arms) + 1))
            continue
        shown = number(worst.value.value, worst.value.unit, toward.get(worst.metric, frozenset()))
        value = Text(shown).append(f"\n{span(worst.value)}", "dim")
        reached, arms = Text(worst.no_attempt), [Text("-") for _ in shown_arms]
        if worst.attempt is not None:
            found = [worst.attempt.arm(arm) for arm in shown_arms]
            reached, arms = _attempt(worst.attempt), [Text(plain(one)) for one in found]
        first, _, last = worst.metric.rpartition(".")
        name.append(f"\n{first}.\n{last}", "not bold dim")
        made.add_row(name, value, reached, *arms, Text("\n".join(worst.flags) or "-"))
    return _whole_words(made, width) if made.row_count else None


def _whole_words(made: Table, width: int) -> Table:
    """The same table with a first column that holds its longest line, as far as there is room."""
    titles = [text for text in made.columns[0].cells if isinstance(text, Text)]
    longest = max(line.cell_len for text in titles for line in text.split("\n"))
    made.columns[0].min_width = min(longest, 18 if width >= 100 else 14 if width >= 80 else 1)
    return made


def _attempt(attempt: Attempt) -> Text:
    return Text(short(attempt.name, 40)).append(f"\n{granted(attempt)}", "dim")


def _arm(value: Value | None) -> Text:
    if value is None or value.value is None:
        return Text("-")
    return Text(plain(value)).append(f"\n{span(value)}", "dim")
