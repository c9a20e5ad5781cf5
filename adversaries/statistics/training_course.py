"""A number over training: how much it changed, and whether it first fell and then rose. Imports no torch.

Huang, Huang and Meng say of a layer's degrees of freedom (DoF) and of the rank of its Jacobian that both first fall
and then rise, and sum that up as a change value (CV) and a modified change ratio (MCR) per layer. Their formulas are
not public. Ours, of a course v_0 ... v_end over checkpoints:

    CV = v_end - v_0        MCR = (v_end - min v) / v_0        reduction = (v_0 - v_end) / v_0 = -CV / v_0

Intervals are of the images that the numbers were measured on, for this one training; another seed is another network.

Source: Huang, Huang, Meng, 2024, arXiv 2412.00696.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from adversaries.evidence import Value

HEURISTICS = {"mcr": "MCR", "cv": "CV", "reduction": "reduction"}
"""Summaries of a course by the names of the file, and how tables call them."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number of a layer that is followed over training, by its names.

    Args:
        panel: `dof` or `rank`: together with which others it is drawn.
        line: at the end of its line there.
        column: in tables of the terminal.
        title: in tables of the page.
        subject: in a sentence of the page; empty where it has none.
        listed: whether the terminal shows it layer by layer.
    """

    panel: str
    line: str
    column: str
    title: str
    subject: str = ""
    listed: bool = False


QUANTITIES = {
    "leakage.dof.effective": Quantity(
        panel="dof", line="effective", column="DoF effective", title="DoF, effective",
        subject="The effective degrees of freedom", listed=True,
    ),
    "leakage.dof.participation": Quantity(
        panel="dof", line="particip.", column="DoF particip.", title="DoF, particip."
    ),
    "leakage.dof.ridge": Quantity(panel="dof", line="ridge", column="DoF ridge", title="DoF, ridge"),
    "leakage.dof.pca99": Quantity(panel="dof", line="PCA-99", column="DoF PCA-99", title="DoF, PCA-99"),
    "leakage.jacobian.rank@1e-3": Quantity(
        panel="rank", line="rank@1e-3", column="rank@1e-3", title="rank of the Jacobian at 1e-3",
        subject="The Jacobian's rank at 1e-3", listed=True,
    ),
    "leakage.jacobian.effective_rank": Quantity(
        panel="rank", line="effective", column="effective rank", title="effective rank of the Jacobian",
        subject="Its effective rank",
    ),
}  # fmt: skip
"""What is followed over training, by the names of the file."""

APART = "distances of two intervals from their estimates added as squares"
FRACTION = "quotient of the outermost bounds"

_NOTHING = "a checkpoint has no number"
_NO_START = "it starts at zero, or its interval reaches zero"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """Whether a number first fell and then rose.

    Args:
        found: True if it did, beyond its intervals; None where a checkpoint has no number or no interval.
        position: of the smallest number among the checkpoints; None without numbers.
        reason: what decided, in words with numbers.
    """

    found: bool | None
    position: int | None
    reason: str


def change(course: Sequence[Value]) -> Value:
    """CV: the last number less the first, in their unit.

    Args:
        course: one value per checkpoint, at least one.

    Returns:
        With an interval as if the two were measured on different images; since they are not, it is rather too wide.
    """
    start, end, unit = _bounds(course[0]), _bounds(course[-1]), course[0].unit
    if start is None or end is None:
        return _unknown((course[0], course[-1]), unit)
    (first, first_low, first_high), (last, last_low, last_high) = start, end
    value = last - first
    return Value(
        value=value,
        low=value - math.hypot(last - last_low, first_high - first),
        high=value + math.hypot(last_high - last, first - first_low),
        n=course[0].n,
        unit=unit,
        method=APART,
    )


def reduction(course: Sequence[Value]) -> Value:
    """How much smaller the last number is than the first, as a share of the first; negative where it grew."""
    fallen = change(course)
    if fallen.value is None or fallen.low is None or fallen.high is None:
        return fallen.model_copy(update={"unit": "ratio"})
    upside_down = (-fallen.value, -fallen.high, -fallen.low)
    return _share(upside_down, course[0])


def modified_change_ratio(course: Sequence[Value]) -> Value:
    """MCR: how far the last number is above the smallest of all, as a share of the first; 0 or more.

    Returns:
        With an interval that allows for the smallest number being another checkpoint's: the true minimum is between
        the lowest lower and the lowest upper bound of all.
    """
    bounds = [_bounds(value) for value in course]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(course):
        return _unknown(course, "ratio")
    last, last_low, last_high = known[-1]
    least = min(value for value, _, _ in known)
    floor, roof = min(low for _, low, _ in known), min(high for _, _, high in known)
    risen = last - least
    low = max(0.0, risen - math.hypot(last - last_low, max(0.0, roof - least)))
    high = risen + math.hypot(last_high - last, least - floor)
    return _share((risen, low, high), course[0])


def turn(course: Sequence[Value]) -> Turn:
    """Whether the smallest number is strictly inside, with its interval below those of the first and the last.

    Args:
        course: one value per checkpoint, at least one.
    """
    bounds = [_bounds(value) for value in course]
    known = [bound for bound in bounds if bound is not None]
    if len(known) < len(course):
        return Turn(found=None, position=None, reason=_unknown(course, "").reason or _NOTHING)
    position = min(range(len(known)), key=lambda index: known[index][0])
    (first, first_low, _), (least, _, roof), (last, last_low, _) = known[0], known[position], known[-1]
    if position in (0, len(known) - 1):
        where = "first" if position == 0 else "last"
        return Turn(found=False, position=position, reason=f"the smallest, {least:.4g}, is the {where}")
    said = f"{first:.4g}, then {least:.4g}, then {last:.4g}"
    fell, rose = first_low > roof, last_low > roof
    if fell and rose:
        return Turn(found=True, position=position, reason=said)
    missing = " and ".join(word for word, there in (("fall", fell), ("rise", rose)) if not there)
    return Turn(found=False, position=position, reason=f"{said}: the {missing} is within the intervals")


def _bounds(value: Value) -> tuple[float, float, float] | None:
    """Number and bounds; None where one of them is missing."""
    if value.value is None or value.low is None or value.high is None:
        return None
    return value.value, value.low, value.high


def _share(numerator: tuple[float, float, float], start: Value) -> Value:
    """A numerator with its bounds as a share of the first number."""
    bounds = _bounds(start)
    if bounds is None or bounds[1] <= 0:
        return Value.unknown(_NO_START, unit="ratio")
    first, least, most = bounds
    value, low, high = numerator
    return Value(
        value=value / first,
        low=low / (most if low >= 0 else least),
        high=high / (least if high >= 0 else most),
        n=start.n,
        unit="ratio",
        method=FRACTION,
    )


def _unknown(course: Sequence[Value], unit: str) -> Value:
    given = [value.reason for value in course if _bounds(value) is None and value.reason]
    return Value.unknown(given[0] if given else _NOTHING, unit=unit)
