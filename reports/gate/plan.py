"""How many target images a gate needs to be decidable, given what is assumed to be true.

For a number of target images n, evaluations are simulated from the assumed truth and judged by the gate's own bounds;
the answer is the smallest n of a fine grid that decides the gate with the wanted probability. Means use the normal
approximation of their interval instead, which is stated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adversaries.evidence import Value
from adversaries.statistics import intervals
from adversaries.statistics.special import ndtri
from reports.gate.compare import columns
from reports.gate.gate import Gate
from reports.model.catalog import lookup
from reports.model.report import Report
from vfc.errors import UserError

Numbers = NDArray[np.float64]

SIMULATIONS = 2000
BOOTSTRAPS = 100
"""Simulations where every bound is a bootstrap of its own."""

MOST = 1_000_000
"""Targets; a gate that needs more is as good as undecidable."""

TARGET, FLOOR, CEILING = 0.9, 0.1, 0.95
"""Assumed where nothing says otherwise: the target model's accuracy, the floor's, and the ceiling's."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one gate needs.

    Args:
        gate: the limit.
        outcome: what it will be with enough target images: `held` or `broken`; None where no number of them decides.
        targets: how many are needed; None where no number decides.
        assumed: what was assumed, in words.
        reason: how it was computed, or why nothing decides.
    """

    gate: Gate
    outcome: Literal["held", "broken"] | None
    targets: int | None
    assumed: str
    reason: str


def plan(
    gates: list[Gate],
    assumed: Mapping[str, float],
    report: Report | None = None,
    rows: Mapping[str, Any] | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
) -> list[Plan]:
    """One plan per gate; they share the level.

    Args:
        gates: all gates that will be judged together.
        assumed: true values by metric name; `floor`, `ceiling` and `target.accuracy` serve all gates.
        report: an earlier run, whose numbers are assumed where `assumed` says nothing.
        rows: its sidecar.
        power: wanted probability of a decision, in (0, 1).
        alpha: one-sided level before correction.

    Raises:
        UserError: a name or number that means nothing, or a metric that needs a report.
    """
    if not 0 < power < 1:
        raise UserError(f"expected a power in (0, 1), got {power!r}", "for instance --power 0.8")
    for name, number in assumed.items():
        if name not in ("floor", "ceiling"):
            lookup(name)
        if not math.isfinite(number):
            raise UserError(f"expected a finite number for {name}, got {number!r}", "correct --assume")
    return [_plan(gate, assumed, report, rows or {}, power, alpha / len(gates)) for gate in gates]


def _plan(
    gate: Gate, assumed: Mapping[str, float], report: Report | None, rows: Mapping[str, Any], power: float, alpha: float
) -> Plan:
    unit = lookup(gate.metric).unit
    stored = report.metrics.get(gate.metric) if report is not None else None
    truth = assumed.get(gate.metric)
    source = "as assumed"
    if truth is None and stored is not None and stored.value is not None:
        truth, source = stored.value, "from the report"
    if truth is None:
        truth, source = _guess(gate, unit), "a guess: no report and no --assume"
    words = f"{gate.metric} = {truth:.4g} ({source})"
    if unit == "count":
        return Plan(gate=gate, outcome=None, targets=None, assumed=words, reason=_COUNT)
    if truth == gate.number:
        return Plan(gate=gate, outcome=None, targets=None, assumed=words, reason="the truth is the limit itself")
    outcome: Literal["held", "broken"] = "held" if gate.satisfied_by(truth) else "broken"
    if unit in ("rate", "ratio"):
        facts = _facts(gate.metric, truth, unit, assumed, stored)
        words_of = {"target": "target model", "floor": "floor"}
        shown = "".join(f", {words_of[name]} {number:.3g}" for name, number in facts.items() if name in words_of)
        needed = _search(lambda n: _power(gate, outcome, unit, facts, n, alpha), power)
        how = f"{SIMULATIONS:,} simulated evaluations for each number of target images"
        return Plan(gate=gate, outcome=outcome, targets=needed, assumed=words + shown, reason=_enough(needed, how))
    if unit == "leakage":
        shares, shown = _leakage_shares(gate.metric, truth, assumed, report, rows)
        needed = _search(lambda n: _leakage_power(gate, outcome, shares, n, alpha), power)
        how = f"{BOOTSTRAPS} simulated evaluations for each number of target images"
        return Plan(gate=gate, outcome=outcome, targets=needed, assumed=words + shown, reason=_enough(needed, how))
    spread, shown = _spread(gate.metric, report, rows)
    distance = abs(truth - gate.number)
    needed = math.ceil(((float(ndtri(1 - alpha)) + float(ndtri(power))) * spread / distance) ** 2)
    found = max(2, needed) if needed <= MOST else None
    how = f"normal approximation, standard deviation {spread:.3g} per target image"
    return Plan(gate=gate, outcome=outcome, targets=found, assumed=words + shown, reason=_enough(found, how))


_COUNT = (
    "its bounds come from a grid of budgets: a finer grid decides more, and target images only through the accuracies"
)


def _enough(needed: int | None, how: str) -> str:
    return how if needed is not None else f"not even {MOST:,} target images suffice ({how})"


def _guess(gate: Gate, unit: str) -> float:
    """A truth on the side on which the gate holds: 0.1 away for rates and leakage, a quarter for ratios."""
    sign = 1 if gate.upward else -1
    if unit in ("rate", "leakage", "difference", "ssim"):
        far = gate.number + sign * 0.1
        return far if unit != "rate" or 0 <= far <= 1 else gate.number / 2 if sign < 0 else (1 + gate.number) / 2
    return gate.number * (1.25 if sign > 0 else 0.8) if gate.number else float(sign)


def _facts(
    metric: str, truth: float, unit: str, assumed: Mapping[str, float], stored: Value | None
) -> dict[str, float]:
    """Probabilities that a simulated target image shows each pattern."""
    if unit == "rate":
        if not 0 <= truth <= 1:
            raise UserError(f"expected a rate in [0, 1] for {metric}, got {truth!r}", "correct --assume")
        return {"p": truth}
    counts = (stored.counts or {}) if stored is not None else {}
    names = ("n11", "n10", "n01", "n00")
    if metric not in assumed and set(names) <= set(counts):
        n = sum(counts[name] for name in names)
        facts = {name: counts[name] / n for name in names}
        return {**facts, "target": facts["n11"] + facts["n10"], "floor": counts.get("floor", 0) / n}
    over = lookup(metric).over_floor
    target = assumed.get("target.accuracy", TARGET)
    floor = assumed.get("floor", FLOOR) if over else 0.0
    other = target / truth if truth > 0 else math.inf
    if not 0 < target <= 1 or not 0 <= floor <= 1 or not 0 < other <= 1 or (over and truth > target / floor + 1e-9):
        raise UserError(
            f"expected a ratio {metric} that a target model of {target:g} and a floor of {floor:g} allow, "
            f"got {truth:g}",
            "correct --assume",
        )
    # Independent hits: what is known about neither helps the other, which makes intervals wide rather than narrow.
    facts = {"n11": target * other, "n10": target * (1 - other), "n01": (1 - target) * other}
    return {**facts, "n00": (1 - target) * (1 - other), "target": target, "floor": floor}


def _power(gate: Gate, outcome: str, unit: str, facts: Mapping[str, float], n: int, alpha: float) -> float:
    """Probability that n target images decide the gate as the truth wants it."""
    generator = np.random.Generator(np.random.PCG64(n))
    if unit == "rate":
        hits = generator.binomial(n, facts["p"], SIMULATIONS)
        low, high = intervals.clopper_pearson(hits, n, alpha)
    else:
        shares = np.array([facts[name] for name in ("n11", "n10", "n01", "n00")])
        n11, n10, n01, n00 = generator.multinomial(n, shares / shares.sum(), SIMULATIONS).T
        bounds = intervals.ratio_bounds(n11, n10, n01, n00, np.full(SIMULATIONS, round(facts["floor"] * n)), alpha)
        low, high = bounds.low, bounds.high
    return _decided(gate, outcome, low, high)


def _leakage_power(gate: Gate, outcome: str, shares: Numbers, n: int, alpha: float) -> float:
    """`_power` for leakage, whose bounds are themselves resampled."""
    drawn = np.random.Generator(np.random.PCG64(n)).multinomial(n, shares, BOOTSTRAPS)
    usable = [counts for counts in drawn if counts @ intervals.PATTERNS[:, 2] > counts @ intervals.PATTERNS[:, 1]]
    bounds = np.array([intervals.leakage_bounds(counts, alpha, 0) for counts in usable]).reshape(-1, 3)
    return _decided(gate, outcome, bounds[:, 1], bounds[:, 2]) * len(usable) / BOOTSTRAPS if usable else 0.0


def _decided(gate: Gate, outcome: str, low: Numbers, high: Numbers) -> float:
    """Share of simulated bounds that decide the gate."""
    above = gate.upward == (outcome == "held")
    return float(np.mean(low > gate.number if above else high < gate.number))


def _search(power_of: Callable[[int], float], power: float) -> int | None:
    """The smallest n of a grid with 2 % steps that decides often enough."""
    low, high = 4, 8
    while power_of(high) < power:
        low, high = high, high * 2
        if high > MOST:
            return None
    while high > low * 1.02 + 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def _leakage_shares(
    metric: str, truth: float, assumed: Mapping[str, float], report: Report | None, rows: Mapping[str, Any]
) -> tuple[Numbers, str]:
    """Probabilities of the 8 joint patterns of attack, floor and ceiling, and what they rest on."""
    found = columns(metric, report, rows) if report is not None and metric in report.metrics else None
    if found is not None and len(found[1][0]) == 3 and metric not in assumed:
        counts = intervals.pattern_counts(*found[1][0])
        return counts / counts.sum(), f", patterns of {counts.sum()} target images of the report"
    floor, ceiling = assumed.get("floor", FLOOR), assumed.get("ceiling", CEILING)
    attack = floor + truth * (ceiling - floor)
    if not 0 <= floor < ceiling <= 1 or not 0 <= attack <= 1:
        raise UserError(
            f"expected 0 <= floor < ceiling <= 1 and a possible leakage, got {floor:g}, {ceiling:g} and {truth:g}",
            "correct --assume",
        )
    rates = np.array([attack, floor, ceiling])
    shares = np.prod(np.where(intervals.PATTERNS > 0, rates, 1 - rates), axis=1)
    return shares, f", floor {floor:.3g}, ceiling {ceiling:.3g}, independent hits"


def _spread(metric: str, report: Report | None, rows: Mapping[str, Any]) -> tuple[float, str]:
    """Standard deviation of one target image's number, and what it rests on."""
    found = columns(metric, report, rows) if report is not None and metric in report.metrics else None
    if found is None or len(found[1][0]) != 1:
        raise UserError(
            f"expected a report with {metric} and its rows, got none", "add --report, or plan a rate, ratio or leakage"
        )
    table = found[1][0][0]
    return float(np.std(table, ddof=1)), f", spread from {len(table)} target images of the report"
