"""Gates: `METRIC OP NUMBER` judged against a report. Fails closed: what is not known does not hold.

For `>=` and `>` the lower bound decides whether a gate holds and the upper one whether it is broken, for `<=` and `<`
the other way round. Bounds are 95 % one-sided, corrected for the number of gates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adversaries.evidence import Value
from adversaries.health import HONESTY, MEANINGS, forbids_holding
from adversaries.statistics.estimates import ALPHA
from adversaries.statistics.labels_needed import Reached, reached
from adversaries.statistics.levels import needs_rows, recompute
from reports.gate.condition import LIFTED, condition, not_accepted
from reports.model.catalog import check_limit, lookup, producible
from reports.model.numbers import Operator, show_bound
from reports.model.report import INTERRUPTED, GateResult, Outcome, Report
from vfc.errors import UserError

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity|nan)", re.IGNORECASE)
_GATE = re.compile(r"\s*([A-Za-z][^\s<>=]*)\s*(>=|<=|>|<)\s*(\S+)\s*")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A limit on a metric.

    Args:
        metric: full name of the metric.
        operator: `>=`, `>`, `<=` or `<`.
        number: the limit; finite.
        text: the gate as the user wrote it.
    """

    metric: str
    operator: Operator
    number: float
    text: str

    @classmethod
    def parse(cls, text: str) -> Gate:
        """Read `METRIC OP NUMBER`, with or without spaces.

        Raises:
            UserError: not of that form, or no finite number.
        """
        form = "write METRIC OP NUMBER with OP one of >= > <= <, for instance 'target.accuracy >= 0.9'"
        found = _GATE.fullmatch(text)
        if found is None:
            raise UserError(f"expected a gate METRIC OP NUMBER, got {text!r}", form)
        metric, operator, digits = found.groups()
        # Not everything that `float` reads: it takes other scripts' digits and underscores too.
        if _NUMBER.fullmatch(digits) is None:
            raise UserError(f"expected a number after {operator} in the gate {text!r}, got {digits!r}", form)
        number = float(digits)
        if not math.isfinite(number):
            raise UserError(f"expected a finite number in the gate {text!r}, got {digits!r}", form)
        for known in (">=", ">", "<=", "<"):
            if operator == known:
                return cls(metric=metric, operator=known, number=number, text=f"{metric} {operator} {digits}")
        raise UserError(f"expected one of >= > <= < in the gate {text!r}, got {operator!r}", form)

    @property
    def upward(self) -> bool:
        """Whether the gate asks for large values."""
        return self.operator in (">=", ">")

    def satisfied_by(self, number: float) -> bool:
        """Whether a number without uncertainty satisfies the gate."""
        if self.upward:
            return number >= self.number if self.operator == ">=" else number > self.number
        return number <= self.number if self.operator == "<=" else number < self.number


def judge(
    report: Report,
    gates: Sequence[Gate],
    rows: Mapping[str, Any] | None = None,
    alpha: float | None = None,
    accepted: Collection[str] = (),
) -> list[GateResult]:
    """Judge every gate. Pure: the report is not changed.

    Args:
        report: what was measured.
        gates: all gates of the run.
        rows: the sidecar's arrays, which bootstrapped metrics need at other levels (see `rows_needed`).
        alpha: one-sided level of each gate's bounds; None: 5 % / the number of gates.
        accepted: kinds of declared secrets that the gates' owner accepts.

    Returns:
        One result per gate, in order, with the bounds that were judged and why.
    """
    level = alpha if alpha is not None else ALPHA / max(1, len(gates))
    found = []
    for gate in gates:
        stored = report.metrics.get(gate.metric)
        result = _judge_one(gate, stored, level, rows)
        result = result if stored is None else _in_doubt(result, stored, report, accepted)
        # What was not tried before an interruption might have been stronger, or its control might have dropped this.
        found.append(result if report.status == "complete" else _undecided(result))
    return found


def _undecided(result: GateResult) -> GateResult:
    return result.model_copy(update={"outcome": "inconclusive", "reason": f"{INTERRUPTED}; {result.reason}"})


def rows_needed(report: Report, gates: Sequence[Gate], alpha: float | None = None) -> bool:
    """Whether judging these gates needs the sidecar; `alpha` as for `judge`."""
    judged = [(gate, report.metrics[gate.metric]) for gate in gates if gate.metric in report.metrics]
    if alpha == ALPHA or (alpha is None and len(gates) < 2):
        # Stored bounds decide, but for candidates that violate a gate and might break it at a stricter level.
        doubtful = [other for gate, value in judged for other in _others(gate, value) if _violates(gate, other)]
        return any(needs_rows(other) for other in doubtful)
    return any(needs_rows(value) for gate, metric in judged for value in (metric, *_others(gate, metric)))


def check_gates(
    gates: Sequence[Gate],
    protocols: Sequence[str],
    *,
    floor: float | None = None,
    task: str | None = None,
    attributes: Sequence[str] | None = None,
    grid: Sequence[int | str] | None = None,
    budgets: Sequence[str] | None = None,
) -> None:
    """Refuse gates that no run of these protocols can satisfy, before anything runs.

    Args:
        gates: what the user asks for.
        protocols: the chosen protocols.
        floor: rate of the task's floor on the target images, if it is known.
        task: name of the task label.
        attributes: names of the attacked attributes.
        grid: labelled releases per class that the budget tries.
        budgets: evasion budgets as the run writes them.

    Raises:
        UserError: an unknown metric, one that the protocols cannot produce, or a limit beyond what labels alone allow.
    """
    for gate in gates:
        producible(gate.metric, protocols, task=task, attributes=attributes, grid=grid, budgets=budgets)
        check_limit(gate.metric, gate.number, floor)


def _judge_one(gate: Gate, stored: Value | None, alpha: float, rows: Mapping[str, Any] | None) -> GateResult:
    """Judge one gate at its corrected level."""

    def result(outcome: Outcome, observed: Value, reason: str) -> GateResult:
        return GateResult(expr=gate.text, outcome=outcome, observed=observed, reason=reason)

    if stored is None:
        return result("inconclusive", Value.unknown("not measured"), f"{gate.metric} was not measured")
    if not all(math.isfinite(number) for number in (stored.value, stored.low, stored.high) if number is not None):
        return result("inconclusive", Value.unknown("not finite"), f"{gate.metric} is not a finite number")
    if stored.curve and stored.value is not None:
        bounds = reached(stored.curve, lambda each, level: recompute(each, level, rows), alpha)
        outcome, reason = _compare_labels(gate, bounds, stored.curve[-1].labels)
        return result(outcome, recompute(stored, alpha, rows), reason)
    value = stored if stored.unit == "count" else recompute(stored, alpha, rows)
    outcome, reason = _compare(gate, value)
    if outcome == "broken":
        return result(outcome, value, _whose(value, chosen=True) + reason)
    # Every honest candidate is judged, not the chosen one alone: choosing among many on validation is luck too.
    others = [recompute(each, alpha, rows) for each in _others(gate, value)]
    for other in others:
        # A clean control is needed to break a gate, and a level corrected for how many could break it.
        if other.controlled and _violates(gate, other):
            strict = recompute(other, alpha / (1 + len(others)), rows)
            theirs, why = _compare(gate, strict)
            if theirs == "broken":
                return result(theirs, strict, _whose(other) + why)
    undecided = [other for other in others if _violates(gate, other)]
    if outcome == "held" and undecided:
        worst = max(undecided, key=lambda each: _badness(gate, each))
        return result("inconclusive", value, _whose(worst) + _compare(gate, worst)[1])
    # What holds is decided by the worst bound of all; what does not, by the chosen one's.
    worst = max([value, *others], key=lambda each: _badness(gate, each)) if outcome == "held" else value
    return result(outcome, value, _whose(worst, chosen=worst is value) + _compare(gate, worst)[1])


def _badness(gate: Gate, value: Value) -> float:
    """How far the bound that speaks against the defender lies in the wrong direction; infinite if it is unknown."""
    bound = value.low if gate.upward else value.high
    return math.inf if bound is None else -bound if gate.upward else bound


def _whose(value: Value, *, chosen: bool = False) -> str:
    """How a reason begins that is about one candidate's bound."""
    if chosen:
        return f"of {value.candidate}, " if value.candidate and value.value is not None else ""
    return f"of {value.candidate or 'an adversary'}, which was not chosen, "


def _in_doubt(result: GateResult, value: Value, report: Report, accepted: Collection[str]) -> GateResult:
    """A gate that the numbers satisfy, under the metric's flags.

    An accepted secret lifts one of them, and whatever holds then says so: the whole run rests on it.
    """
    if result.outcome != "held":
        return result
    words = condition(report, accepted)
    left = [flag for flag in forbids_holding(value.flags) if not (words and flag == LIFTED)]
    if not left:
        rests = f", {words}" if words else ""
        return result.model_copy(update={"condition": words, "reason": result.reason + rests})
    doubts = "; ".join(f"{flag}, {MEANINGS[flag]}" for flag in left)
    secret = not_accepted(report, accepted) if LIFTED in left else ""
    reason = f"{result.reason}, but the number is in doubt: {doubts}" + (f"; {secret}" if secret else "")
    return result.model_copy(update={"outcome": "inconclusive", "reason": reason})


def _others(gate: Gate, value: Value) -> list[Value]:
    """The honest candidates that are judged beside the chosen one.

    Those that selection has missed always; everybody else where the gate asks for what a defender wants: a gate that
    asks for a strong attack is about the strongest.
    """
    better = lookup(gate.metric).better
    wanted = better is None or (better == "up") == gate.upward
    more = [other for other in value.others if other not in value.also] if wanted else []
    return [other for other in (*value.also, *more) if not set(other.flags) & set(HONESTY)]


def _violates(gate: Gate, value: Value) -> bool:
    return _compare(gate, value)[0] != "held"


def _compare(gate: Gate, value: Value) -> tuple[Outcome, str]:
    """What one number says of one gate, by its bounds alone."""
    limit = f"{gate.number:g}"
    if value.value is None or value.low is None or value.high is None:
        return "inconclusive", value.reason or "the number or its bounds are unknown"
    if value.censored:
        return _compare_censored(gate, value.value)
    if value.unit == "count" or value.low == value.value == value.high:
        holds = gate.satisfied_by(value.value)
        return ("held" if holds else "broken"), f"{value.value:g} is {_side(gate, holds)} {limit}"
    decisive, opposite = (value.low, value.high) if gate.upward else (value.high, value.low)
    names = ("lower", "upper") if gate.upward else ("upper", "lower")
    level = f"{100 * (1 + value.confidence) / 2:.4g} %"
    if gate.satisfied_by(decisive):
        shown = _show(decisive, gate, gate.operator)
        return "held", f"the {level} {names[0]} bound {shown} is {_side(gate, True)} {limit}"
    if not gate.satisfied_by(opposite):
        shown = _show(opposite, gate, gate.operator)
        return "broken", f"even the {level} {names[1]} bound {shown} is {_side(gate, False)} {limit}"
    shown = _show(decisive, gate, gate.operator)
    return (
        "inconclusive",
        f"the {level} {names[0]} bound {shown} is {_side(gate, False)} {limit}, the {names[1]} is not",
    )


def _compare_labels(gate: Gate, bounds: Reached, largest: float) -> tuple[Outcome, str]:
    """What the first K that reaches a goal says of a gate; a K beyond the largest tried is not known any closer."""
    early, late = bounds
    words = f"the goal is reached not before {_labels(early, largest)}, and surely by {_labels(late, largest)}"
    if gate.upward:
        held = gate.satisfied_by(early) and (early <= largest or gate.satisfied_by(largest) or gate.number <= largest)
        return ("held" if held else "broken" if not gate.satisfied_by(late) else "inconclusive"), words
    if gate.satisfied_by(late):
        return "held", words
    return ("broken" if not gate.satisfied_by(min(early, largest)) else "inconclusive"), words


def _labels(labels: float, largest: float) -> str:
    return f"K = {labels:g}" if labels <= largest else f"more than the largest K = {largest:g}"


def _compare_censored(gate: Gate, largest: float) -> tuple[Outcome, str]:
    """The truth is larger than the largest K that was tried, and it is not known by how much."""
    if gate.upward and largest >= gate.number:
        return "held", f"more than {largest:g} is {_side(gate, True)} {gate.number:g}"
    return "inconclusive", f"only known to be more than {largest:g}, the largest budget tried"


def _side(gate: Gate, satisfied: bool) -> str:
    """Where a number lies that satisfies the gate, or that does not."""
    words = {
        ">=": ("at least", "under"),
        ">": ("over", "not over"),
        "<=": ("at most", "over"),
        "<": ("under", "not under"),
    }
    return words[gate.operator][0 if satisfied else 1]


def _show(bound: float, gate: Gate, operator: Operator) -> str:
    """A bound with three significant digits, or as many as it takes not to look equal to the limit."""
    digits = 2 if abs(bound) >= 1 else 3
    while digits < 12 and bound != gate.number and float(show_bound(bound, digits, operator)) == gate.number:
        digits += 1
    return show_bound(bound, digits, operator)
