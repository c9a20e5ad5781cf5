"""What would change a verdict, in sentences: what each gate's outcome hangs on, and what was not tried."""

from __future__ import annotations

import math

from adversaries.evidence import Value
from adversaries.health import TRUE_LABELS, forbids_holding
from reports.gate.gate import Gate
from reports.model.attempt_index import AttemptIndex
from reports.model.catalog import lookup
from reports.model.numbers import number
from reports.model.report import GateResult, Report
from reports.text.phrases import LEVELS
from vfc.errors import UserError

REMEDIES = {
    "CEILING_MISSED": "a stronger adversary or more labels, until it succeeds on the images themselves",
    "NOT_CONVERGED": "longer training of the chosen adversary",
    "ZERO_GRADIENT": "an adversary whose gradient is not zero, such as one that approximates it",
    "TOO_FEW_TARGETS": "more target images",
    "PLANTED_MISSED": "an adversary that finds a label planted in a copy of the release",
    "CALL_DEPENDENT": "a defense whose release of an image does not depend on what else is published with it",
    TRUE_LABELS: "a defense that goes by what a defender knows (for fmd, labels=predicted)",
    "CRASHED": "another run without the crash",
    "TARGET_UNMATCHED": "an adversary that reads the release nearly as well as its target model does, or a declared "
    "secret that the gate's owner accepts (--accept-secret)",
    "TARGET_UNKNOWN": "a target model that reads the release: a method predict, an attribute target, or an array "
    "prediction",
    "BELOW_FLOOR": "an adversary that learns what those guesses are wrong about",
    "ONE_DRAW": "a budget that draws the attacker's labels several times (--budget standard)",
    "MOSTLY_NONFINITE_RELEASE": "a release of finite numbers",
    "SHUFFLED_ABOVE_CHANCE": "an adversary that stays at chance on shuffled labels",
    "SPLIT_OVERLAP": "parts of the data that share no image",
    "NONFINITE_GUESS": "an adversary whose guesses are finite numbers",
}
"""What clears each flag that forbids that a gate holds."""


def changes(index: AttemptIndex) -> list[tuple[str, str]]:
    """What would change the verdict: a subject and a sentence each, the gates first."""
    report = index.report
    found = [(result.expr, sentence) for result in report.gates for sentence in _gate(report, result)]
    if not report.gates:
        found.append(("No gate", "No limit was set, so nothing can be broken. A gate turns a number into a verdict."))
    missing = sorted({row.adversary for row in report.evidence if row.status in ("failed", "not_run")})
    if missing:
        names = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        found.append(("Not measured", f"Adversaries that failed or were not run might be stronger: {names}."))
    levels = {attempt.level for attempt in index.attempts if attempt.status == "measured"}
    untried = [
        f"{level} ({word})" for level, word in LEVELS.items() if level > max(levels, default="") and level < "L5"
    ]
    if untried:
        found.append(
            ("Stronger attackers", f"No attack at {', '.join(untried)} was tried; what those would reach is unknown.")
        )
    if report.command.settings.with_defaults.get("budget") == "smoke":
        found.append(("Budget", "Smoke tries few K and skips checks; --budget standard tries more."))
    found.append(
        (
            "Any attack",
            "Every number here is what these adversaries found. A stronger one can only reach more, never less.",
        )
    )
    return found


def _gate(report: Report, result: GateResult) -> list[str]:
    """What one gate's outcome hangs on."""
    try:
        gate = Gate.parse(result.expr)
        metric = lookup(gate.metric)
    except UserError:
        return ["This version does not know the metric of this gate."]
    value = result.observed
    if value.value is None:
        return [f"A number: {value.reason or 'not measured'}. Made by --protocol {' or '.join(metric.protocols)}."]
    if value.censored and result.outcome == "inconclusive":
        return [f"A pool that serves more than {number(value.value, 'count')} labelled releases per class."]
    sentences = []
    accuracy = _accuracy(report, gate, metric.over_floor)
    if accuracy:
        sentences.append(accuracy)
    flags = forbids_holding(value.flags) if result.outcome == "inconclusive" else ()
    sentences += [f"{flag} is cleared by {REMEDIES[flag]}." for flag in flags]
    if result.outcome == "inconclusive" and not flags:
        sentences.append(_targets(gate, value))
    if result.outcome != "inconclusive" and not sentences:
        shown = number(value.value, value.unit)
        margin = "" if value.unit == "count" else " by more than its interval"
        sentences.append(f"It turns when the number, now {shown}, comes to the other side of {gate.number:g}{margin}.")
    return sentences


def _accuracy(report: Report, gate: Gate, over_floor: bool) -> str:
    """What a limit on a ratio means for the adversary's accuracy."""
    target = report.target.accuracy.value
    stem = gate.metric.replace("suppression_ratio", "accuracy")
    best = report.metrics.get(stem)
    if not over_floor or not gate.upward or gate.number <= 0 or target is None or best is None or best.value is None:
        return ""
    return (
        f"It asks that the accuracy of the strongest such attack is at most {number(target / gate.number)}; "
        f"it is {number(best.value)}."
    )


def _targets(gate: Gate, value: Value) -> str:
    """How many target images would decide, if the number stayed where it is."""
    low, high = value.low, value.high
    if value.value is None or low is None or high is None or not value.n or value.unit == "count":
        return "A number with an interval."
    holds = gate.satisfied_by(value.value)
    bound = (low if gate.upward else high) if holds else (high if gate.upward else low)
    distance = abs(value.value - gate.number)
    word = "hold" if holds else "be broken"
    if distance == 0 or not math.isfinite(ratio := abs(value.value - bound) / distance):
        return "No number of target images decides while the number equals the limit."
    wanted = value.n * ratio * ratio
    digits = max(0, math.floor(math.log10(max(wanted, 1))) - 1)
    rounded = math.ceil(wanted / 10**digits) * 10**digits
    if rounded > 10**9:
        return "No number of target images at hand decides: the number all but equals the limit."
    return f"More target images: at about {rounded:,} instead of {value.n:,}, the same number would {word}."
