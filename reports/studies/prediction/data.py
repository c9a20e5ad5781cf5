"""Do the attack-free numbers predict the attacks? The shapes of the table, and what its rows and columns are.

Rows are diagnostics, numbers without an attack, columns what attacks measured; one point per release.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adversaries.statistics.rank_correlation import Correlation
from reports.model.catalog import lookup, metrics


def diagnostics() -> tuple[str, ...]:
    """Rows, in the order of the catalog."""
    return tuple(metric.name for metric in metrics() if metric.diagnostic is not None)


def predicted() -> tuple[str, ...]:
    """Columns, by their names in the catalog; a higher number is worse for the defender in every one of them."""
    return tuple(metric.name for metric in metrics() if metric.predicted)


CONTROLS: Mapping[str, str] = {
    "constant": "known null",
    "pure-noise": "known null",
    "identity": "known leak",
    "label-release": "strawman",
    "negated": "strawman",
    "orthogonal-mixing": "strawman",
    "linear-mask": "strawman",
    "pixel-permutation": "strawman",
    "sealed": "known null",
}
"""Registered defenses that are extreme by design; a few such points make any rank correlation."""

LEVEL = 0.05
"""One-sided level of every cell's bounds, and the chance of any false mark in the whole table."""

ALL, WITHOUT = "all releases", "without known nulls, the known leak and strawmen"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One release with its numbers.

    Args:
        name: the defense, with the settings in which it differs from most others of that name.
        control: what it is by design, for `CONTROLS`; else None.
        settings: of the defense, as in the report.
        values: numbers by metric.
        reasons: why the others are missing.
    """

    name: str
    control: str | None
    settings: Mapping[str, Any]
    values: Mapping[str, float]
    reasons: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One diagnostic against one attack.

    Args:
        diagnostic: name of the row.
        measured: name of the column.
        expected: sign of the correlation if the diagnostic predicts: +1 or -1.
        correlation: over the releases that have both numbers.
        mark: `*` if the interval, corrected for the number of cells, excludes 0 on the expected side; `!` if on the
            other side; else empty.
    """

    diagnostic: str
    measured: str
    expected: int
    correlation: Correlation
    mark: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """The same table over some of the releases: their names, and the cells row by row."""

    title: str
    points: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Everything that the formats show.

    Args:
        dataset, task, targets: what every release was measured on, and on how many targets.
        diagnostics, measured: names of rows and columns.
        points: the releases.
        blocks: all releases; and those left without controls, if there are any controls.
        tests: how many cells have a value; marks are corrected for them.
        missing: sentences on which numbers are missing where, and why.
        notes: sentences on what a reader must know.
    """

    dataset: str
    task: str
    targets: int
    diagnostics: tuple[str, ...]
    measured: tuple[str, ...]
    points: tuple[Point, ...]
    blocks: tuple[Block, ...]
    tests: int
    missing: tuple[str, ...]
    notes: tuple[str, ...]


DIGITS, DECIMALS = 5, 9
"""Significant digits, and decimals, that are ranked: beyond them numbers differ by rounding alone, and are ties."""


def ranked(number: float) -> float:
    """A number as it is ranked."""
    return round(float(f"{number:.{DIGITS}g}"), DECIMALS)


def expected(diagnostic: str) -> int:
    """Sign of the correlation with any column if the diagnostic predicts."""
    return lookup(diagnostic).diagnostic or 1
