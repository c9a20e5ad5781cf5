"""`vfc gate`: judge a report again. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from protocols.output import printing
from reports.gate import Gate, check_gates, exit_code, judge, rows_needed, verdict
from reports.report import load, load_rows
from vfc.errors import UserError


def run_gate(path: str, texts: Sequence[str]) -> int:
    """Judge gates on a report and return the exit code; without gates, those that the report was made with.

    Raises:
        UserError: the report or a gate cannot be used.
    """
    report = load(path)
    gates = [Gate.parse(text) for text in texts or [result.expr for result in report.gates]]
    if not gates:
        raise UserError("expected a gate, got none", "for instance --gate 'adaptive.suppression_ratio >= 3'")
    floors = [row.arms.floor.value for row in report.evidence if row.arms.floor is not None]
    protocols = list(dict.fromkeys(row.protocol for row in report.evidence))
    check_gates(gates, protocols, floor=floors[0] if floors else None, task=report.dataset.task)
    rows = load_rows(path, report) if rows_needed(report, gates) else None
    results = judge(report, gates, rows)
    word = verdict(results, report.evidence)
    with printing():
        for result in results:
            sys.stdout.write(f"{result.outcome:<13}{result.expr}: {result.reason}\n")
        budget = report.command.settings.with_defaults.get("budget", "unknown")
        sys.stdout.write(f"verdict: {word} (budget {budget})\n")
    return exit_code(word)
