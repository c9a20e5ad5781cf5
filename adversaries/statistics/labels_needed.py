"""How many labels an attacker needs to come some way from the floor to the target, with bounds. Imports no torch.

At every K of the grid the *margin* is attack - floor - share * (target - floor), averaged over target images: the goal
is reached where it is not negative. Target and floor are measured on the same images, so their luck is in the bounds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from adversaries.evidence import Step, Value
from adversaries.statistics import estimates

METHOD = "first K of the grid that reaches the goal"
MARGIN = "Student's t with the two extremes added"
"""How `method` of such values begins."""

Again = Callable[[Value, float], Value]
"""A number at another one-sided level."""


class Reached(NamedTuple):
    """The first K whose bounds reach the goal; infinite where the largest K does not."""

    earliest: float
    latest: float


def margin(attack_hits: Any, floor_hits: Any, target_hits: Any, share: float, alpha: float = estimates.ALPHA) -> Value:
    """How far an attack is beyond the goal, averaged over targets; in [-1, 1].

    Args:
        attack_hits, floor_hits, target_hits: right or wrong per target, each (n,).
        share: how much of the way from floor to target is the goal, in (0, 1].
        alpha: one-sided level of each bound.
    """
    from adversaries.statistics import intervals

    patterns = intervals.pattern_counts(attack_hits, floor_hits, target_hits)
    return margin_of({f"{code:03b}": int(count) for code, count in enumerate(patterns)}, share, alpha)


def margin_of(counts: dict[str, int], share: float, alpha: float) -> Value:
    """`margin` from how many targets show each pattern of attack, floor and target, such as `101`.

    One target at each end of the range is added before Student's t: without them few discordant targets would look like
    no uncertainty (as in Agresti and Coull 1998, Approximate is better than "exact", The American Statistician 52).
    """
    n = sum(counts.values())
    if n == 0:
        return Value.unknown("no targets", unit="difference")
    from scipy.special import stdtrit

    rows = [(1.0, 1), (-1.0, 1), *((_distance(pattern, share), count) for pattern, count in counts.items())]
    total = n + 2
    center = sum(number * count for number, count in rows) / total
    spread = math.sqrt(sum(count * (number - center) ** 2 for number, count in rows) / (total - 1) / total)
    reach = float(stdtrit(total - 1, 1 - alpha)) * spread
    attack, floor, target = (
        sum(count for pattern, count in counts.items() if pattern[place] == "1") for place in (0, 1, 2)
    )
    value = (attack - floor - share * (target - floor)) / n
    return Value(
        value=value,
        low=max(-1.0, min(value, center - reach)),
        high=min(1.0, max(value, center + reach)),
        n=n,
        confidence=estimates.confidence_of(alpha),
        unit="difference",
        method=f"{MARGIN}, share {share:g}",
        counts=counts,
    )


def margin_again(value: Value, alpha: float) -> Value | None:
    """A margin at another level; None if the value is none."""
    found = re.fullmatch(rf"{re.escape(MARGIN)}, share (\S+)", value.method)
    return None if found is None or not value.counts else margin_of(value.counts, float(found.group(1)), alpha)


def labels_needed(curve: Sequence[Step], again: Again, alpha: float = estimates.ALPHA) -> Value:
    """The first K at which the chosen adversary reaches the goal; censored at the largest K if none does.

    Args:
        curve: the grid, ascending; the first margin of a step is that of the chosen adversary.
        again: computes a margin at another level (`levels.recompute`).
        alpha: one-sided level of each bound.
    """
    largest = curve[-1].labels
    value = next((step.labels for step in curve if (step.margins[0].value or 0.0) >= 0), math.inf)
    bounds = reached(curve, again, alpha)
    return Value(
        value=min(value, largest),
        low=min(bounds.earliest, value, largest),
        high=min(max(bounds.latest, value), largest),
        n=min(step.margins[0].n for step in curve),
        confidence=estimates.confidence_of(alpha),
        unit="count",
        method=METHOD,
        censored=value > largest,
        curve=tuple(curve),
    )


def reached(curve: Sequence[Step], again: Again, alpha: float) -> Reached:
    """The first K that anybody might reach the goal with, and the first that somebody surely does.

    Earliest: every candidate's upper bound counts, at `alpha`; for the truth to be earlier than that, a bound must have
    missed it. Latest: lower bounds, of the chosen adversary at alpha / number of K, of others whose control ran clean
    at that over the number of candidates, because the best of many bounds is taken.
    """
    earliest = latest = math.inf
    for step in reversed(curve):
        chosen, others = step.margins[0], step.margins[1:]
        uppers = [again(each, alpha).high for each in step.margins]
        if any(high is None or high >= 0 for high in uppers):
            earliest = step.labels
        level = alpha / len(curve)
        lowers = [again(chosen, level).low]
        lowers += [again(each, level / (1 + len(others))).low for each in others if each.controlled]
        if any(low is not None and low >= 0 for low in lowers):
            latest = step.labels
    return Reached(earliest, latest)


def _distance(pattern: str, share: float) -> float:
    attack, floor, target = (int(hit) for hit in pattern)
    return attack - floor - share * (target - floor)
