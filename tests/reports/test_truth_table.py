"""Every combination of value, control state, waiver and baseline against what the contract says, spelled out apart."""

import itertools
import math
from datetime import date

import pytest

from adversaries.evidence import Value
from adversaries.health import HONESTY, INFORMING, POWER
from reports.gate.baseline import against
from reports.gate.gate import Gate
from reports.gate.policy import Policy, Rule
from reports.gate.verdict import exit_code, verdict
from tests.reports.builder import build, number

METRIC = "adaptive.leakage"  # smaller is better
DAY = date(2026, 6, 15)

VALUES = {
    "low": number(0.1, 0.05, 0.15, unit="leakage"),
    "across": number(0.5, 0.4, 0.6, unit="leakage"),
    "high": number(0.9, 0.85, 0.95, unit="leakage"),
    "missing": None,
    "unknown": Value.unknown("no ceiling", unit="leakage"),
    "no bounds": Value.model_construct(**{**number(0.1, 0.0, 0.2).__dict__, "low": None}),
    "not a number": Value.model_construct(**{**number(0.1, 0.0, 0.2).__dict__, "value": math.nan}),
    "infinite": Value.model_construct(**{**number(0.1, 0.0, 0.2).__dict__, "high": math.inf}),
}
BY_BOUNDS = {("<=", "low"): "held", ("<=", "high"): "broken", (">=", "low"): "broken", (">=", "high"): "held"}
CONTROLS = {"clean": (), "power": POWER, "honesty": HONESTY, "informing": INFORMING}
WAIVERS = {"none": None, "counts": date(2026, 6, 15), "expired": date(2026, 6, 14)}
LEVELS = ("error", "warn")


def flags_of(control):
    return CONTROLS[control] or (None,)


CASES = [
    (operator, value, control, flag, waiver, level)
    for operator, value, control, waiver, level in itertools.product(("<=", ">="), VALUES, CONTROLS, WAIVERS, LEVELS)
    for flag in flags_of(control)
]


def report_with(value, flag=None):
    if value is None:
        return build(metrics={})
    changed = value.model_copy(update={"flags": (flag,) if flag else ()})
    return build().model_copy(update={"metrics": {METRIC: changed}})


@pytest.mark.parametrize(("operator", "value", "control", "flag", "waiver", "level"), CASES)
def test_gates(operator, value, control, flag, waiver, level):
    expected = BY_BOUNDS.get((operator, value), "inconclusive")
    if expected == "held" and control in ("power", "honesty"):
        expected = "inconclusive"
    report = report_with(VALUES[value], flag)
    rule = Rule(gate=Gate.parse(f"{METRIC} {operator} 0.5"), level=level, until=WAIVERS[waiver], why="soon")
    (result,) = Policy(rules=(rule,)).judge(report, today=DAY)
    assert result.outcome == expected
    assert result.reason
    excused = level == "warn" or waiver == "counts"
    word = verdict([result], report.evidence)
    assert word == ("measured" if excused else expected)
    assert exit_code(word) == (0 if excused else {"held": 0, "broken": 1, "inconclusive": 3}[expected])
    assert (result.waiver is not None) == (waiver != "none")


BASELINES = [
    # old, new, tolerance, outcome; leakage falls are better, the targets differ, so intervals decide.
    ("low", "low", 0.0, "inconclusive"),
    ("low", "low", 0.2, "held"),
    ("low", "across", 0.0, "broken"),
    ("low", "high", 0.0, "broken"),
    ("low", "high", 0.85, "inconclusive"),
    ("low", "high", 0.95, "held"),
    ("across", "low", 0.0, "held"),
    ("high", "low", 0.0, "held"),
    ("high", "across", 0.0, "held"),
    ("low", "missing", 0.0, "inconclusive"),
    ("low", "unknown", 5.0, "inconclusive"),
    ("low", "no bounds", 5.0, "inconclusive"),
    ("missing", "low", 0.0, None),
    ("unknown", "high", 0.0, None),
]


@pytest.mark.parametrize(("old", "new", "tolerance", "expected"), BASELINES)
@pytest.mark.parametrize("flag", [None, "CRASHED", "SPLIT_OVERLAP", "AT_FLOOR"])
def test_baselines(old, new, tolerance, expected, flag):
    before, after = report_with(VALUES[old]), report_with(VALUES[new], flag)
    other = after.dataset.parts["targets"].model_copy(update={"digest": "other"})
    after = after.model_copy(update={"dataset": after.dataset.model_copy(update={"parts": {"targets": other}})})
    found = against(after, {}, before, {}, tolerance=tolerance, alpha=0.1)
    if expected is None:
        assert found == []
        return
    if expected == "held" and flag in ("CRASHED", "SPLIT_OVERLAP"):
        expected = "inconclusive"
    (one,) = found
    assert (one.outcome, one.paired) == (expected, False)
    assert one.reason
