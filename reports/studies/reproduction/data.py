"""A published table and ours, row by row. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from adversaries.evidence import Value
from adversaries.statistics.levels import over_seeds
from reports.model.report import Report
from reports.model.storage import load


class Wanted(BaseModel):
    """One row: a number of a report, and what was published.

    Args:
        what: the row's name.
        report: folder of the report, below the seed's.
        metric: which of its numbers.
        published: the number as it was printed, with its unit; empty where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    what: str
    report: str
    metric: str
    published: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table.

    Args:
        wanted: what was asked for.
        value: over all seeds; null with a reason where one lacks it.
    """

    wanted: Wanted
    value: Value


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A published table made again.

    Args:
        name, title, source: of the recipe.
        scale, needs: which scale, and what it takes.
        seeds: of the runs.
        differs: what is not as it was published.
        commands: that made the numbers, of the first seed.
        hardware, date, seconds: where, when and how long, of what was not read back.
        rows: in the recipe's order.
        flagged: health flags of the numbers, by metric.
    """

    name: str
    title: str
    source: str
    scale: str
    needs: str
    seeds: tuple[int, ...]
    differs: tuple[str, ...]
    commands: tuple[str, ...]
    hardware: str
    date: str
    seconds: float
    rows: tuple[Row, ...]
    flagged: Mapping[str, tuple[str, ...]]

    @property
    def complete(self) -> bool:
        """Whether every number is known."""
        return all(row.value.value is not None for row in self.rows)


def rows_of(wanted: Sequence[Wanted], folders: Sequence[Path]) -> tuple[Row, ...]:
    """Every row over the seeds whose folders are given.

    Raises:
        UserError: a report cannot be read.
    """
    reports: dict[Path, Report] = {}
    rows = []
    for each in wanted:
        values = []
        for folder in folders:
            path = folder / each.report
            report = reports.setdefault(path, load(path)) if path not in reports else reports[path]
            values.append(report.metrics.get(each.metric) or Value.unknown(f"the report has no {each.metric}"))
        rows.append(Row(wanted=each, value=over_seeds(values)))
    return tuple(rows)


def flags_of(rows: Sequence[Row]) -> dict[str, tuple[str, ...]]:
    """The flags that numbers carry, by row."""
    return {row.wanted.what: row.value.flags for row in rows if row.value.flags}
