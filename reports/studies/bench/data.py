"""The bench as data: one row per defense, from its report, in the order of what repurposing costs. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from adversaries.evidence import Evidence, Value
from adversaries.health import TRUE_LABELS
from reports.gate.condition import ACCEPTABLE
from reports.gate.verdict import unmeasured
from reports.model.report import DeclaredSecret, Report
from reports.studies.bench.columns import COLUMNS, Key, read
from reports.studies.bench.published import Published, published
from reports.studies.prediction.data import CONTROLS

ORACLE = "told the true labels"
"""Mark of a row whose defense knew the true labels of what it published."""

Status = Literal["measured", "incomplete", "not applicable", "failed"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What became of one row.

    Args:
        name: of the row: the defense, and what was set if it stands there more than once.
        defense: registered name, or the factory.
        folder: where its report is.
        report: what was measured; None if nothing was.
        reason: why nothing was.
        applicable: whether it could have been: some defenses have no meaning for some data or target models.
        point: the utility-privacy weights that were set, in a sweep.
        chosen: whether its defender would choose this point of the sweep, by the defender's validation part.
    """

    name: str
    defense: str
    folder: str = ""
    report: Report | None = None
    reason: str = ""
    applicable: bool = True
    point: Mapping[str, float] = field(default_factory=dict)
    chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table.

    Args:
        name, defense, point, chosen: as in `Entry`.
        status: incomplete if an adversary that applies was not measured.
        reason: why it failed or is incomplete.
        mark: what the defense is by design, if it is extreme by design: strawman, known null, known leak, or told the
            true labels.
        secret: what it declares that attackers do not have.
        control: whether attackers with all labels match the target model.
        values: numbers by column; absent where the report has none.
        worst: the attribute that leaks most.
        seconds: that all attacks took, those found in the cache too.
        fit_seconds: that fitting the defense took, whenever that was; None where nobody knows.
        publish_seconds: that it took to publish all parts.
        published: what papers print.
        digest: of the report.
    """

    name: str
    defense: str
    point: Mapping[str, float] = field(default_factory=dict)
    chosen: bool = False
    status: Status
    reason: str = ""
    mark: str = ""
    secret: DeclaredSecret = field(default_factory=DeclaredSecret)
    control: Literal["matched", "unmatched", "unknown", ""] = ""
    values: Mapping[Key, Value] = field(default_factory=dict)
    worst: str = ""
    seconds: float | None = None
    fit_seconds: float | None = None
    publish_seconds: float | None = None
    published: tuple[Published, ...] = ()
    digest: str = ""

    def number(self, key: Key) -> float | None:
        """The number of a column; None where it is unknown."""
        value = self.values.get(key)
        return None if value is None else value.value

    @property
    def hides_behind_secret(self) -> bool:
        """Whether it declares a secret that attackers might be without."""
        return self.secret.kind in ACCEPTABLE


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Everything that the formats show.

    Args:
        dataset, task, targets: what every row was measured on, and on how many target images.
        budget, threat: how much attackers spent, and the highest level of knowledge if one was asked for.
        rows: in order.
    """

    dataset: str
    task: str
    targets: int
    budget: str
    threat: str | None
    rows: tuple[Row, ...]

    @property
    def graded(self) -> tuple[Row, ...]:
        """The rows that have numbers."""
        return tuple(row for row in self.rows if row.status in ("measured", "incomplete"))

    @property
    def complete(self) -> bool:
        """Whether every applicable row was measured by everybody who could, and there is one."""
        known = [row.status for row in self.rows if row.status != "not applicable"]
        return bool(known) and all(status == "measured" for status in known)


def bench_of(
    entries: Sequence[Entry], *, dataset: str, task: str, targets: int, budget: str, threat: str | None
) -> Bench:
    """The table of what was measured.

    Args:
        entries: one per row, in any order.
        dataset, task, targets, budget, threat: as in `Bench`.
    """
    rows = sorted((_row(entry) for entry in entries), key=_order)
    return Bench(dataset=dataset, task=task, targets=targets, budget=budget, threat=threat, rows=tuple(rows))


def _row(entry: Entry) -> Row:
    report, mark = entry.report, CONTROLS.get(entry.defense) or ""
    if report is not None and any(TRUE_LABELS in evidence.health for evidence in report.evidence):
        mark = mark or ORACLE
    if report is None:
        return Row(
            name=entry.name,
            defense=entry.defense,
            point=entry.point,
            status="failed" if entry.applicable else "not applicable",
            reason=entry.reason,
            mark=mark,
        )
    values: dict[Key, Value] = {}
    worst = ""
    for column in COLUMNS:
        value, about = read(report, column)
        if value is not None:
            values[column.key] = value
        worst = about or worst
    missing = sorted(set(unmeasured(report.evidence)))
    return Row(
        name=entry.name,
        defense=entry.defense,
        point=entry.point,
        chosen=entry.chosen,
        status="measured" if report.verdict == "measured" else "incomplete",
        reason="" if not missing else f"not measured: {', '.join(missing)}",
        mark=mark,
        secret=report.release.secret,
        control="" if report.target.control is None else report.target.control.status,
        values=values,
        worst=worst,
        seconds=_seconds(report.evidence),
        fit_seconds=report.provenance.fit_s,
        publish_seconds=report.provenance.publish_s,
        published=published(entry.defense, report),
        digest=report.digest,
    )


def _seconds(evidence: Sequence[Evidence]) -> float:
    """What all attacks took. One that is evidence of several goals, every aspect of inversion say, took it once."""
    return sum(cost.seconds for _, _, cost in {(row.adversary, row.seed, row.cost) for row in evidence})


def _order(row: Row) -> tuple[object, ...]:
    """Labels that repurposing takes, most first; then less attribute leakage, then fewer identified; never transfer.

    What is unknown stands behind what is known, and failed rows at the end.
    """
    labels = row.values.get("labels_to_90")
    count = None if labels is None else labels.value
    return (
        _LAST.get(row.status, 0),
        count is None,
        -(count or 0.0),
        labels is None or not labels.censored,
        *(math.inf if (number := row.number(key)) is None else number for key in _LESS),
        row.name,
    )


_LAST: Mapping[Status, int] = {"not applicable": 1, "failed": 2}
_LESS: tuple[Key, ...] = ("worst_leakage", "identification", "psnr")
