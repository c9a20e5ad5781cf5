"""A report's findings, one per gate and one per adversary that was not measured, for formats that list findings.

Texts are made harmless here (`harmless.clean`): no control characters, no marks that turn others around, not too long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from adversaries.evidence import Status, adversary_name
from reports.gate.gate import Gate
from reports.gate.verdict import unmeasured
from reports.model.harmless import clean
from reports.model.identifiers import Identifier, identifiers
from reports.model.report import GateResult, Report
from vfc.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One gate of a report.

    Args:
        result: as it was judged.
        expr: the gate, clean.
        metric: the gate's metric, clean.
        message: outcome and reason in words, clean, with the waiver or the level where those matter.
        ids: what fits it in OWASP AISVS and MITRE ATLAS.
    """

    result: GateResult
    expr: str
    metric: str
    message: str
    ids: tuple[Identifier, ...]

    @property
    def excused(self) -> str:
        """Why the verdict ignores it although it is not held; empty if it does not."""
        if self.result.decides or self.result.outcome == "held":
            return ""
        return waiver_words(self.result) or "only a warning"


def gate_findings(report: Report) -> list[Finding]:
    """One finding per gate, in order."""
    return [
        Finding(
            result=result,
            expr=clean(result.expr),
            metric=clean(metric_of(result)),
            message=_message(result),
            ids=identifiers(metric_of(result)),
        )
        for result in report.gates
    ]


def adversaries(report: Report) -> Iterable[tuple[str, str, Status, str]]:
    """Protocol, name, status and reason of every piece of evidence, clean."""
    for row in report.evidence:
        labels = row.threat.budget.labels_per_class
        parts = [
            adversary_name(row.adversary, row.settings),
            f"K={labels}" if labels is not None else "",
            row.goal,
            f"seed {row.seed}",
        ]
        name = " ".join(part for part in parts if part)
        yield clean(row.protocol), clean(name), row.status, clean(row.reason or "no reason was given")


def missing_lines(report: Report, required: Collection[str] | None, *, gated: bool) -> list[str]:
    """One line for every required adversary that was not measured, with the reason.

    Args:
        report: what was measured.
        required: names of adversaries that a policy requires; None: every applicable one, where there is no gate.
        gated: whether there is one.
    """
    lines = []
    for name in unmeasured(report.evidence, required) if required is not None or not gated else ():
        rows = [row for row in report.evidence if row.adversary == name and row.status in ("failed", "not_run")]
        found = [
            f"{row.status.replace('_', ' ')} in {row.protocol}: {row.reason or 'no reason was given'}" for row in rows
        ]
        reason = "; ".join(dict.fromkeys(found)) or "no row of the report is about it"
        lines.append(f"{'inconclusive':<13}required adversary {clean(name)} was not measured: {clean(reason)}")
    return lines


def metric_of(result: GateResult) -> str:
    """The metric that a gate judges; the whole text of one that cannot be read."""
    try:
        return Gate.parse(result.expr).metric
    except UserError:
        return result.expr


def state_words(result: GateResult) -> str:
    """The outcome of a gate, with whatever keeps it from counting: BROKEN, WAIVED until when and why."""
    if result.outcome != "held" and result.waiver is not None and result.waiver.active:
        return f"{result.outcome.upper()}, WAIVED until {clean(result.waiver.until)}: {clean(result.waiver.reason)}"
    notes = [result.outcome, "only a warning" if result.level == "warn" else ""]
    if result.outcome != "held":
        notes.append(waiver_words(result))
    return ", ".join(note for note in notes if note)


def waiver_words(result: GateResult) -> str:
    """What the waiver of a gate says; empty without one."""
    if result.waiver is None:
        return ""
    until, why = clean(result.waiver.until), clean(result.waiver.reason)
    return f"waived until {until}: {why}" if result.waiver.active else f"its waiver expired on {until}: {why}"


def _message(result: GateResult) -> str:
    if result.outcome != "held" and result.waiver is not None and result.waiver.active:
        return f"{clean(result.expr)} is {state_words(result)}; {clean(result.reason)}"
    notes = [f"{clean(result.expr)} is {result.outcome}: {clean(result.reason)}"]
    if result.level == "warn":
        notes.append("only a warning")
    if result.waiver is not None:
        notes.append(waiver_words(result))
    return "; ".join(notes)
