"""`leakage.json` on the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from reports.model.numbers import brief

Layer = Mapping[str, Any]


def show(data: Mapping[str, Any], heading: str, tables: Mapping[str, Mapping[str, str]], console: Console) -> None:
    """Tables with a row for each layer, then the reasons for what is missing, and how spectra were computed.

    Args:
        data: as `vfc leakage` wrote it.
        heading: what was measured.
        tables: by title the columns, by heading the metric.
        console: where to.
    """
    layers: Sequence[Layer] = data["layers"]
    console.print(heading, style="bold", markup=False)
    for title, columns in tables.items():
        console.print(f"\n{title}", markup=False)
        console.print(_table(layers, columns))
    console.print("\nNo attack ran: these numbers are no leakage by themselves.", style="dim")
    for how in dict.fromkeys(layer["method"] for layer in layers if layer["method"]):
        which = ", ".join(layer["name"] for layer in layers if layer["method"] == how)
        console.print(f"{which}: {how}", style="dim", markup=False)
    for layer in layers:
        reasons = {value["reason"] for value in layer["metrics"].values() if value["value"] is None and value["reason"]}
        for text in (*layer["notes"], *sorted(reasons)):
            console.print(f"{layer['name']}: {text}", markup=False)
    for note in data["notes"]:
        console.print(note, markup=False)


def _table(layers: Sequence[Layer], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("layer", "values", *columns):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=column != "layer")
    for layer in layers:
        size = f"{math.prod(layer['shape']):,}" if layer["shape"] else "-"
        table.add_row(escape(layer["name"]), size, *(brief(layer["metrics"].get(name)) for name in columns.values()))
    return table
