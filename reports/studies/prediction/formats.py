"""The prediction table on a terminal, as Markdown, CSV and JSON. Every text of a report is made harmless first."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adversaries.statistics.rank_correlation import FEWEST, Correlation
from reports.formats.csv_table import safe
from reports.formats.markdown import inert
from reports.formats.tables import harmless, table
from reports.model.harmless import clean
from reports.studies.prediction.data import LEVEL, Block, Cell, Prediction

SCHEMA = 1
"""Of the JSON form."""

COLUMNS = ("kind", "block", "release", "control", "name", "measured", "expected", "value", "low", "high", "n", "mark",
           "reason")  # fmt: skip
"""Of the CSV form: `correlation` rows are cells, `number` rows are what they were computed from."""

_NAME, _CELL = 26, 15
_TOO_FEW = f"No correlations: at least {FEWEST} releases are needed."


def render_prediction(found: Prediction, console: Console) -> None:
    """Print the table; consoles that are too narrow for all columns get them in parts.

    Args:
        found: what `reports.studies.prediction.correlate.predict` returned.
        console: where to print; its width, colors and encoding are respected.
    """
    console.print(harmless(_title(found), console, "bold"))
    for sentence in _legend(found):
        console.print(Text(sentence, "dim"))
    room = max(1, (console.width - _NAME) // _CELL)
    for block in found.blocks:
        console.print(Text(f"\n{_heading(block)}", "bold"))
        console.print(Text(", ").join(harmless(name, console, "dim") for name in block.points))
        if len(block.points) < FEWEST:
            console.print(Text(_TOO_FEW))
            continue
        for start in range(0, len(found.measured), room):
            console.print()
            console.print(_part(found, block, found.measured[start : start + room], plain=console.options.ascii_only))
    for title, sentences in (("Missing numbers", found.missing), ("Read with care", found.notes)):
        if sentences:
            console.print(Text(f"\n{title}", "bold"))
        for sentence in sentences:
            console.print(harmless(f"- {sentence}", console))


def markdown_prediction(found: Prediction) -> str:
    """The table as GitHub-flavored Markdown; equal predictions give equal text."""
    lines = [f"# {inert(_title(found), 400)}", "", *(f"{inert(one, 1000)}\n" for one in _legend(found))]
    for block in found.blocks:
        lines += [f"## {inert(_heading(block))}", "", ", ".join(map(inert, block.points)), ""]
        if len(block.points) < FEWEST:
            lines += [_TOO_FEW, ""]
            continue
        head = ["diagnostic", "predicts if", *(inert(name) for name in found.measured)]
        rows = [[inert(name), _sign(cells[0]), *map(_whole, cells)] for name, cells in _rows(found, block)]
        lines += [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
        lines.append("")
    for title, sentences in (("Missing numbers", found.missing), ("Read with care", found.notes)):
        if sentences:
            lines += [f"## {title}", "", *(f"- {inert(one, 4000)}" for one in sentences), ""]
    return "\n".join(lines)


def csv_prediction(found: Prediction) -> str:
    """Every cell, and every number behind them, as CSV with a header and lines that end in a line feed."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in (*_cells(found), *_numbers(found)):
        writer.writerow({name: safe(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    return buffer.getvalue()


def json_prediction(found: Prediction) -> str:
    """Everything as JSON, without NaN and with sorted keys."""
    content = {
        "schema": SCHEMA,
        "dataset": found.dataset,
        "task": found.task,
        "targets": found.targets,
        "level": LEVEL,
        "tests": found.tests,
        "diagnostics": found.diagnostics,
        "measured": found.measured,
        "releases": [
            {
                "name": point.name,
                "control": point.control,
                "settings": point.settings,
                "values": point.values,
                "reasons": point.reasons,
            }
            for point in found.points
        ],
        "blocks": [
            {"title": block.title, "releases": block.points, "cells": [_payload(cell) for cell in block.cells]}
            for block in found.blocks
        ],
        "missing": found.missing,
        "notes": found.notes,
    }
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _title(found: Prediction) -> str:
    return (
        f"Do attack-free numbers predict the attacks? {len(found.points)} releases of {found.dataset}, "
        f"task {found.task}, {found.targets} target images"
    )


def _legend(found: Prediction) -> tuple[str, ...]:
    return (
        "Spearman's rank correlation, in brackets its 90 % interval (each bound is a 95 % one-sided one), and how many "
        "releases have both numbers.",
        "The sign says how a diagnostic would correlate with what attackers reach if it predicted: + if more means "
        "more leakage, - if more promises less.",
        f"* the interval excludes 0 on that side, ! on the other side; both corrected for {found.tests} correlations "
        f"(Bonferroni, {LEVEL:g} for the whole table). Without a mark chance alone may have made the number.",
    )


def _heading(block: Block) -> str:
    text = f"{block.title}: {len(block.points)}"
    return f"{text[0].upper()}{text[1:]}"


def _rows(found: Prediction, block: Block) -> Iterable[tuple[str, list[Cell]]]:
    for name in found.diagnostics:
        yield name, [cell for cell in block.cells if cell.diagnostic == name]


def _part(found: Prediction, block: Block, columns: Sequence[str], *, plain: bool) -> Table:
    """The block's table with some of its columns."""
    made = table("diagnostic", "", *(clean(name, plain=plain).replace(".", ".\n") for name in columns))
    for name, cells in _rows(found, block):
        shown = [_tall(cell) for cell in cells if cell.measured in columns]
        made.add_row(Text(name.partition(".")[2]), Text(_sign(cells[0])), *shown)
    return made


def _tall(cell: Cell) -> Text:
    """A cell in two lines."""
    one = cell.correlation
    if one.value is None:
        return Text(f"-\nn {one.n}", "dim")
    text = Text(f"{_two(one.value)}{cell.mark}", "bold" if cell.mark else "")
    return text.append(f" n {one.n}\n{_interval(one)}", "not bold dim")


def _whole(cell: Cell) -> str:
    """A cell in one line of Markdown."""
    one = cell.correlation
    if one.value is None:
        return f"- (n {one.n})"
    number = _two(one.value)
    return f"{f'**{number}**' if cell.mark else number}{inert(cell.mark)} {_interval(one)} n {one.n}"


def _interval(one: Correlation) -> str:
    return f"[{_two(one.low)}, {_two(one.high)}]"


def _two(number: float | None) -> str:
    """Two decimals with a sign; bounds are there wherever a value is."""
    return f"{number or 0.0:+.2f}".replace("-0.00", "+0.00")


def _sign(cell: Cell) -> str:
    return "+" if cell.expected > 0 else "-"


def _payload(cell: Cell) -> dict[str, Any]:
    one = cell.correlation
    return {
        "diagnostic": cell.diagnostic,
        "measured": cell.measured,
        "expected": cell.expected,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "mark": cell.mark,
        "reason": one.reason,
    }


def _cells(found: Prediction) -> Iterable[dict[str, object]]:
    for block in found.blocks:
        for cell in block.cells:
            payload = {key: "" if part is None else part for key, part in _payload(cell).items()}
            yield {"kind": "correlation", "block": block.title, "name": payload.pop("diagnostic"), **payload}


def _numbers(found: Prediction) -> Iterable[dict[str, object]]:
    for point in found.points:
        for name in (*found.diagnostics, *found.measured):
            yield {
                "kind": "number",
                "release": point.name,
                "control": point.control or "",
                "name": name,
                "value": point.values.get(name, ""),
                "reason": point.reasons.get(name, ""),
            }
