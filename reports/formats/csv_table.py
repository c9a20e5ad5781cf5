"""The report as one CSV table: a row per metric, per piece of evidence and per gate.

Cells that a spreadsheet would take for a formula start with an apostrophe. Numbers are written in full.
Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from adversaries.evidence import ARMS, Value, adversary_name
from reports.model.harmless import clean
from reports.model.identifiers import labels
from reports.model.report import Report
from reports.text.findings import gate_findings

COLUMNS = (
    "kind", "protocol", "name", "goal", "level", "labels_per_class", "seed", "arm", "status", "chosen", "value", "low",
    "high", "confidence", "n", "unit", "method", "censored", "flags", "reason", "identifiers",
)  # fmt: skip
"""The columns, in order."""

_FORMULA = ("=", "+", "-", "@", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def render_csv(report: Report) -> str:
    """The report as CSV with a header and lines that end in a line feed; equal reports give equal text.

    Args:
        report: what was measured.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in (*_metrics(report), *_evidence(report), *_gates(report)):
        writer.writerow({name: safe(cell) if isinstance(cell, str) else cell for name, cell in row.items()})
    return buffer.getvalue()


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula, without control characters."""
    shown = clean(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _metrics(report: Report) -> Iterable[dict[str, object]]:
    for name in sorted(report.metrics):
        value = report.metrics[name]
        status = "unknown" if value.value is None else "measured"
        yield {"kind": "metric", "name": name, "status": status, "identifiers": labels(name), **_numbers(value)}


def _evidence(report: Report) -> Iterable[dict[str, object]]:
    for row in report.evidence:
        labels_per_class = row.threat.budget.labels_per_class
        facts: dict[str, object] = {
            "kind": "evidence",
            "protocol": row.protocol,
            "name": adversary_name(row.adversary, row.settings),
            "goal": row.goal,
            "level": row.threat.level,
            "labels_per_class": "" if labels_per_class is None else labels_per_class,
            "seed": row.seed,
            "status": row.status,
            "chosen": str(row.chosen).lower(),
            "reason": row.reason or "",
            "flags": " ".join(row.health),
        }
        arms = [(arm, value) for arm in ARMS if (value := row.arms.get(arm)) is not None]
        for arm, value in arms:
            numbers = _numbers(value)
            yield {**facts, "arm": arm, **numbers, "flags": facts["flags"], "reason": numbers["reason"] or row.reason}
        if not arms:
            yield facts


def _gates(report: Report) -> Iterable[dict[str, object]]:
    for finding in gate_findings(report):
        yield {
            **_numbers(finding.result.observed),
            "kind": "gate",
            "name": finding.expr,
            "level": finding.result.level,
            "status": finding.result.outcome,
            "reason": finding.message,
            "identifiers": labels(finding.metric),
        }


def _numbers(value: Value) -> dict[str, object]:
    return {
        "value": _number(value.value),
        "low": _number(value.low),
        "high": _number(value.high),
        "confidence": _number(value.confidence),
        "n": value.n,
        "unit": value.unit,
        "method": value.method,
        "censored": str(value.censored).lower(),
        "flags": " ".join(value.flags),
        "reason": value.reason or "",
    }


def _number(number: float | None) -> object:
    """A number as CSV writes it: shortest form that reads back as the same, empty where it is unknown."""
    return "" if number is None else float(number)
