"""Sentences and short phrases about a report. Free of torch and of layout, so that every renderer can use them."""

from __future__ import annotations

from reports.gate.gate import Gate
from reports.gate.verdict import unmeasured
from reports.model.attempt_index import Attempt
from reports.model.harmless import short
from reports.model.numbers import Operator
from reports.model.report import INTERRUPTED, Report
from vfc.errors import UserError

LEVELS = {
    "L0": "transfer",
    "L1": "unlabelled",
    "L2": "labelled",
    "L3": "queries",
    "L4": "white-box",
    "L5": "target access",
}
"""Threat levels in a word."""


def operators(report: Report) -> dict[str, frozenset[Operator]]:
    """For every metric that a gate judges, the operators it is judged by."""
    found: dict[str, frozenset[Operator]] = {}
    for result in report.gates:
        try:
            gate = Gate.parse(result.expr)
        except UserError:  # a gate that cannot be read rounds nothing
            continue
        found[gate.metric] = found.get(gate.metric, frozenset()) | {gate.operator}
    return found


def granted(attempt: Attempt) -> str:
    """What an attacker had: the threat level with its word, and what it might spend besides labels."""
    parts = [f"{attempt.level} {LEVELS.get(attempt.level, '')}".strip()]
    budget = attempt.rows[0].threat.budget
    for name in ("pairs", "queries", "releases", "steps"):
        count = getattr(budget, name)
        parts += [f"{count:,} {name if count != 1 else name[:-1]}"] if count else []
    dropped = attempt.settings.get("dropped")
    parts += [f"left out after round {dropped}"] if isinstance(dropped, int) else []
    return ", ".join(parts)


def aim(attempt: Attempt) -> str:
    """What an attempt was after, and within which limits."""
    parts = [short(attempt.goal)]
    parts += [] if attempt.labels is None else [f"K = {attempt.labels}"]
    eps = attempt.settings.get("eps")
    parts += [f"within {eps:.4g}"] if isinstance(eps, (int, float)) else []
    return ", ".join(parts)


def verdict_sentence(report: Report) -> str:
    """What the verdict says, in words."""
    outcomes = [gate.outcome for gate in report.gates if gate.decides]
    total = f"{len(outcomes)} gate{'s' if len(outcomes) != 1 else ''}"
    passed = [gate for gate in report.gates if not gate.decides and gate.outcome != "held"]
    if report.status == "partial":
        return f"{INTERRUPTED}, so nothing is decided; the same command goes on where it ended"
    over = f"; {len(passed)} more not held, but waived or only a warning" if passed else ""
    if report.verdict == "held":
        conditions = dict.fromkeys(gate.condition for gate in report.gates if gate.decides and gate.condition)
        rests = "".join(f", {short(words, 300)}" for words in conditions)
        about = _about(report)
        return (f"the gate{about} holds" if len(outcomes) == 1 else f"all {total}{about} hold") + rests + over
    if report.verdict == "broken":
        return f"{outcomes.count('broken')} of {total} broken{over}"
    if report.verdict == "measured":
        return "everything asked for was measured; no gate " + ("decides" if report.gates else "was set") + over
    if "inconclusive" in outcomes:
        return f"no gate is broken, but {outcomes.count('inconclusive')} of {total} cannot be decided{over}"
    if not report.evidence:
        return "nothing was measured"
    missing = ", ".join(short(name) for name in unmeasured(report.evidence)[:5])
    return f"required adversaries were not measured: {missing or 'see below'}"


def _about(report: Report) -> str:
    """What all gates that decide are about, where that is transfer alone: it says nothing of attackers who adapt."""
    decisive = [gate for gate in report.gates if gate.decides]
    return " on transfer" if all(gate.expr.startswith("transfer.") for gate in decisive) else ""


def per_class(report: Report) -> float | None:
    """Labelled releases per class that `all` stands for; None if the report does not tell."""
    part, classes = report.dataset.parts.get("pool_train"), report.dataset.classes.get(report.dataset.task)
    return None if part is None or not classes else part.size / classes
