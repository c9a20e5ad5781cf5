"""One word for a whole run, and the exit code that it becomes. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adversaries.evidence import Evidence
from reports.model.report import GateResult, Status, Verdict

EXIT_CODES: dict[Verdict, int] = {"held": 0, "measured": 0, "broken": 1, "inconclusive": 3}
CODE_OF_INTERRUPTED = 130


def verdict(
    results: Sequence[GateResult],
    evidence: Sequence[Evidence],
    required: Collection[str] | None = None,
    *,
    status: Status = "complete",
) -> Verdict:
    """One word for the whole run.

    Args:
        results: what `judge` returned; empty without gates.
        evidence: every adversary, and whether it was measured.
        required: names of adversaries that must have been measured; None: every applicable one.
        status: of the run; one that was interrupted is inconclusive.

    Returns:
        With gates that decide (errors that are not waived): broken if one is, else inconclusive if one is or if an
        adversary that `required` names was not measured, else held. Without: measured if every required adversary was
        measured, else inconclusive; a run that measured nothing is inconclusive too.
    """
    if status == "partial":
        return "inconclusive"
    outcomes = {result.outcome for result in results if result.decides}
    if "broken" in outcomes:
        return "broken"
    missing = unmeasured(evidence, required)
    if outcomes:
        return "inconclusive" if "inconclusive" in outcomes or (required is not None and missing) else "held"
    nothing = not any(row.status == "measured" for row in evidence)
    return "inconclusive" if missing or nothing else "measured"


def unmeasured(evidence: Sequence[Evidence], required: Collection[str] | None = None) -> list[str]:
    """Names of required adversaries that failed, were not run, or (when named) do not appear at all."""
    wanted = [row for row in evidence if required is None or row.adversary in required]
    missing = {row.adversary for row in wanted if row.status in ("failed", "not_run")}
    absent = set(required or ()) - {row.adversary for row in wanted}
    return sorted(missing | absent)


def exit_code(word: Verdict, status: Status = "complete") -> int:
    """The program's exit code for a verdict, 0, 1 or 3; 130 for a run that was interrupted."""
    return EXIT_CODES[word] if status == "complete" else CODE_OF_INTERRUPTED
