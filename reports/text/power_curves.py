"""Calibration results as tables: what was found of every known leak, by the share of images that carry it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(results: Mapping[str, Any], console: Console) -> None:
    """One table per data set and protocol: alarms in runs, by leak and strength.

    Args:
        results: as `vfc calibrate` writes them.
        console: where to.
    """
    for dataset, facts in results["datasets"].items():
        console.print(f"{dataset}, n = {facts['n']}: alarms in runs, by share of images that carry the leak\n")
        for protocol, numbers in facts["protocols"].items():
            console.print(_table(protocol, numbers))
            console.print()
        console.print(f"{facts['cpu_seconds']:.0f} s of processor time\n")


def _table(protocol: str, numbers: Mapping[str, Any]) -> Table:
    strengths = sorted({s for found in numbers["leaks"].values() for s in found}, key=float, reverse=True)
    table = Table(box=None, pad_edge=False)
    names = [*numbers["leaks"], *(f"{null} (null)" for null in numbers["nulls"])]
    table.add_column(protocol, no_wrap=True, min_width=max(map(len, names), default=0))
    for column in (*strengths, "found down to", "chosen most often"):
        table.add_column(column, overflow="fold")
    for leak, found in numbers["leaks"].items():
        least = numbers["smallest"].get(leak)
        cells = [*(_counts(found.get(strength)) for strength in strengths), "-" if least is None else f"{least:g}"]
        table.add_row(leak, *cells, numbers["chosen"].get(leak, "-"))
    for null, counts in numbers["nulls"].items():
        cells = [_counts(counts), *("-" for _ in strengths)]
        table.add_row(f"{null} (null)", *cells, numbers["chosen"].get(null, "-"))
    return table


def _counts(counts: Sequence[int] | None) -> str:
    return "-" if counts is None else f"{counts[0]}/{counts[1]}"
