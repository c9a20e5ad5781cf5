"""A course over training on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adversaries.statistics.training_course import HEURISTICS, QUANTITIES
from reports.model.numbers import brief
from reports.studies.over_training.findings import FEW_LAYERS, turned


def show(data: Mapping[str, Any], console: Console) -> None:
    """All tables, then what a reader must know."""
    steps, layers = data["steps"], data["layers"]
    heading = f"{data['title']}: {len(steps)} checkpoints, steps {steps[0]} to {steps[-1]}, {data['images']} images"
    console.print(heading, style="bold", markup=False)
    for quantity in [name for name, each in QUANTITIES.items() if each.listed]:
        turns = [layer["courses"][quantity]["fall_then_rise"] for layer in layers if quantity in layer["courses"]]
        if all(each["found"] is None for each in turns):
            why = turns[0]["reason"] if turns else "no layer has it"
            console.print(f"\n{QUANTITIES[quantity].column}: not known ({why})", markup=False)
            continue
        console.print(f"\n{QUANTITIES[quantity].column} (90 % interval)")
        console.print(_course_table(layers, quantity, steps))
    asked = data["membership"]
    if asked["reason"]:
        console.print(f"\nNo membership attack: {asked['reason']}.", markup=False)
    else:
        console.print(
            f"\nMembership advantage: {asked['members']} members, {asked['non_members']} others, "
            f"{asked['shadows']} shadow trainings (90 % interval)"
        )
        console.print(_membership_table(layers, data["model"], steps))
        _flags(layers, data["model"], console)
    console.print("\nFirst fall, then rise? Does it predict who is found? (Spearman over layers)")
    console.print(_summary(layers, data["correlations"]))
    reasons = {row["reason"] for row in data["correlations"] if row["value"] is None and row["n"]}
    for text in (*sorted(reasons), FEW_LAYERS if data["correlations"] else "", *data["notes"]):
        if text:
            console.print(text, style="dim", markup=False)
    for layer in layers:
        for note in layer["notes"]:
            console.print(f"{layer['name']}: {note}", style="dim", markup=False)


def _course_table(layers: Sequence[Mapping[str, Any]], quantity: str, steps: Sequence[int]) -> Table:
    table = _table("layer", f"step {steps[0]}", "smallest", "at", f"step {steps[-1]}", "CV", "MCR", "fell, rose")
    for layer in layers:
        course = layer["courses"].get(quantity)
        if course is None:
            continue
        turn, values = course["fall_then_rise"], course["values"]
        least = None if turn["position"] is None else values[turn["position"]]
        table.add_row(
            escape(layer["name"]),
            brief(values[0]),
            brief(least),
            "-" if turn["step"] is None else f"{turn['step']:,}",
            brief(values[-1]),
            brief(course["cv"]),
            brief(course["mcr"]),
            {True: "yes", False: "no", None: "-"}[turn["found"]],
        )
    return table


def _membership_table(
    layers: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]], steps: Sequence[int]
) -> Table:
    table = _table("layer", f"step {steps[0]}", f"step {steps[-1]}", "shuffled", "planted", "by")
    rows = [(layer["name"], layer["membership"]) for layer in layers]
    for name, found in (*rows, ("whole model", whole)):
        first, last = found[0], found[-1]
        table.add_row(
            escape(name),
            brief(first.get("advantage")),
            brief(last.get("advantage")),
            brief(last.get("shuffled")),
            brief(last.get("planted")),
            escape(last.get("chosen", last.get("reason", "-"))),
        )
    return table


def _flags(layers: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Doubts about the attack at the last checkpoint, by flag."""
    rows = [*((layer["name"], layer["membership"][-1]) for layer in layers), ("whole model", whole[-1])]
    for flag in sorted({flag for _, row in rows for flag in row.get("health", ())}):
        which = ", ".join(name for name, row in rows if flag in row.get("health", ()))
        console.print(f"{flag}: {which}", style="dim", markup=False)


def _summary(layers: Sequence[Mapping[str, Any]], correlations: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("number", "fell, rose", "n", *HEURISTICS.values())
    for quantity, names in QUANTITIES.items():
        found, known = turned(layers, quantity)
        cells = {row["heuristic"]: row for row in correlations if row["quantity"] == quantity}
        counts = {row["n"] for row in cells.values()}
        table.add_row(
            names.column,
            f"{found} of {known}",
            ", ".join(str(count) for count in sorted(counts)) or "-",
            *(_correlation(cells.get(name)) for name in HEURISTICS),
        )
    return table


def _correlation(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    return f"{row['value']:+.2f} [dim]{row['low']:+.2f} to {row['high']:+.2f}[/dim]"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for position, column in enumerate(columns):
        words = position == 0 or column in ("by", "flags", "fell, rose")
        table.add_column(column, justify="left" if words else "right", no_wrap=False)
    return table
