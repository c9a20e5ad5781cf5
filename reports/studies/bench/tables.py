"""The bench on a terminal and as CSV. Every text of a report is made harmless first. Imports no torch."""

from __future__ import annotations

import csv
import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adversaries.evidence import Value
from reports.formats.csv_table import safe
from reports.formats.tables import harmless, table
from reports.model.harmless import clean
from reports.model.numbers import number, span
from reports.studies.bench.columns import COLUMNS, Column, Group
from reports.studies.bench.data import Bench, Row
from reports.studies.bench.notes import BESIDE, beside, mark_of, notes, secret_of

NAME = 20
"""Width of the longest name that is not folded."""

CHOSEN = "its defender's choice"
"""What stands below the chosen point of a sweep."""

TITLES: tuple[tuple[Group, str], ...] = (
    ("repurposing", "What repurposing costs"),
    ("leaking", "What leaks besides"),
    ("cost", "What it costs"),
)


def render_bench(bench: Bench, console: Console) -> None:
    """Print the table in three parts, and the sentences below.

    Args:
        bench: what was measured.
        console: where to print; its width, colors and encoding are respected.
    """
    plain = console.options.ascii_only
    console.print(harmless(title(bench), console, "bold"))
    for group, heading in TITLES:
        console.print(Text(f"\n{heading}", "bold"))
        console.print(_part(bench, [column for column in COLUMNS if column.group == group], group, plain=plain))
    for row in bench.rows:
        if row.reason:
            color = "red" if row.status == "failed" else "yellow"
            console.print(harmless(f"{row.name}: {row.status}: {row.reason}", console, color))
    printed = [line for row in bench.rows for line in beside(row)]
    if printed:
        made = table(*BESIDE)
        for line in printed:
            made.add_row(*(harmless(text, console) for text in line[:-1]))
        console.print(Text("\nWhat papers print", "bold"))
        console.print(made)
        for why in dict.fromkeys(line[-1] for line in printed):
            console.print(harmless(f"Why they differ: {why}.", console, "dim"))
    console.print()
    for sentence in notes(bench):
        console.print(harmless(sentence, console))


def csv_bench(bench: Bench) -> str:
    """One line a row, in the order of the table; equal benches give equal text but for the seconds."""
    buffer = io.StringIO()
    first = (
        "place",
        "row",
        "defense",
        "status",
        "reason",
        "mark",
        "secret",
        "secret_bits",
        "secret_lifetime",
        "control",
        "chosen",
    )
    numbers = [f"{column.key}{end}" for column in COLUMNS for end in ("", "_low", "_high")]
    last = (
        "labels_to_90_censored",
        "worst_attribute",
        "fit_seconds",
        "publish_seconds",
        "seconds",
        "published",
        "report_digest",
    )
    writer = csv.DictWriter(buffer, [*first, *numbers, *last], restval="", lineterminator="\n")
    writer.writeheader()
    for place, row in enumerate(bench.rows, 1):
        cells = {"place": place, **_facts(row), **_numbers(row)}
        writer.writerow({name: safe(cell) if isinstance(cell, str) else cell for name, cell in cells.items()})
    return buffer.getvalue()


def title(bench: Bench) -> str:
    """What was measured, in one line."""
    threat = f", up to {bench.threat}" if bench.threat else ""
    return (
        f"{len(bench.rows)} rows under the same adversaries: {bench.dataset}, task {bench.task}, "
        f"{bench.targets} target images, budget {bench.budget}{threat}"
    )


def shown(value: Value | None) -> str:
    """A number for a narrow cell; a dash where there is none, `>` where it was never reached."""
    if value is None or value.value is None:
        return "-"
    text = f"{value.value:.1f}" if value.unit == "dB" else number(value.value, value.unit)
    return f"> {text}" if value.censored else text


def _part(bench: Bench, columns: list[Column], group: Group, *, plain: bool) -> Table:
    """One of the tables."""
    seconds = ("seconds\nto fit", "to\npublish", "of all\nattacks")
    about = {"repurposing": ("control",), "leaking": ("secret",), "cost": seconds}[group]
    wide = [column.title.replace(" ", "\n", 1) for column in columns]
    made = table("", *wide, *about, tight=True)
    for row in bench.rows:
        cells = [Text(shown(row.values.get(column.key))) for column in columns]
        for cell, column in zip(cells, columns, strict=True):
            if column.key == "worst_leakage" and row.worst:
                cell.append(f"\n{clean(row.worst, plain=plain)}", "dim")
        last = {"repurposing": (row.control,), "leaking": (secret_of(row),), "cost": spent(row)}[group]
        made.add_row(_name(row, plain=plain), *cells, *(Text(clean(each, plain=plain), "dim") for each in last))
    made.columns[0].min_width = min(NAME, max((len(row.name) + 2 for row in bench.rows), default=1))
    for narrow in made.columns[1 : len(columns) + 1]:
        narrow.no_wrap = True
    return made


def spent(row: Row) -> tuple[str, ...]:
    """Seconds of fitting, publishing and attacking for narrow cells; empty where nobody knows."""
    found = ((row.fit_seconds, ".1f"), (row.publish_seconds, ".1f"), (row.seconds, ".0f"))
    return tuple("" if each is None else format(each, form) for each, form in found)


def _name(row: Row, *, plain: bool) -> Text:
    """A row's name with its marks."""
    mark = mark_of(row)
    name = Text(clean(row.name, plain=plain), "bold red" if row.status == "failed" else "bold")
    if mark:
        name.append(f" {clean(mark, plain=plain)}")
    words = (row.mark, CHOSEN if row.chosen else "", "" if row.status == "measured" else row.status)
    below = ", ".join(word for word in words if word)
    return name.append(f"\n{below}", "not bold dim italic") if below else name


def bounds(value: Value | None) -> str:
    """The interval of a number; empty where there is none."""
    if value is None or value.value is None or value.low == value.high:
        return ""
    return span(value)


def _facts(row: Row) -> dict[str, object]:
    """What is no number."""
    printed = [f"{each.metric} {each.theirs:g} ({each.source}; {each.differs})" for each in row.published]
    labels = row.values.get("labels_to_90")
    return {
        "row": row.name,
        "defense": row.defense,
        "status": row.status,
        "reason": row.reason,
        "mark": row.mark,
        "secret": row.secret.kind if row.values else "",
        "secret_bits": "" if row.secret.bits is None else row.secret.bits,
        "secret_lifetime": row.secret.lifetime if row.secret.kind != "none" else "",
        "control": row.control,
        "chosen": "true" if row.chosen else "",
        "labels_to_90_censored": "" if labels is None or labels.value is None else str(labels.censored).lower(),
        "worst_attribute": row.worst,
        "fit_seconds": "" if row.fit_seconds is None else row.fit_seconds,
        "publish_seconds": "" if row.publish_seconds is None else row.publish_seconds,
        "seconds": "" if row.seconds is None else row.seconds,
        "published": "; ".join(printed),
        "report_digest": row.digest,
    }


def _numbers(row: Row) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in row.values.items():
        ends = {"": value.value, "_low": value.low, "_high": value.high}
        found |= {f"{key}{end}": "" if number is None else float(number) for end, number in ends.items()}
    return found
