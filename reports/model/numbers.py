"""Numbers as text: rounded toward failure where a gate judges them, with their interval where there is room."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Literal

from adversaries.evidence import Value

Operator = Literal[">=", ">", "<=", "<"]
"""Of a gate."""

UNITS = ("dB", "bits", "nats", "dimensions")
"""Units that are written behind a number."""


def number(value: float, unit: str = "rate", toward: frozenset[Operator] = frozenset()) -> str:
    """Three decimals, or as many as a count needs; rounded toward failure where a gate judges it.

    Args:
        value: finite.
        unit: of the `Value`.
        toward: operators of the gates.
    """
    if unit == "count":
        return f"{value:.1f}".removesuffix(".0")
    upward = {operator in (">=", ">") for operator in toward}
    if len(upward) == 1:
        return show_bound(value, 3, next(iter(sorted(toward))))
    return f"{value:.3f}".replace("-0.000", "0.000")


def figure(value: Value | None, toward: frozenset[Operator] = frozenset(), *, unit: bool = False) -> str:
    """A number with its interval, or `unknown`.

    Args:
        value: the number.
        toward: operators of the gates.
        unit: name the unit, if it has one, and the reason of an unknown.
    """
    if value is None or value.value is None:
        return f"unknown: {value.reason or 'no reason was given'}" if unit and value is not None else "unknown"
    if unit:
        return figure(value, toward) + (f" {value.unit}" if value.unit in UNITS else "")
    shown = number(value.value, value.unit, toward)
    if value.censored:
        return f"> {shown}"
    if value.low is None or value.high is None or value.low == value.high:
        return shown
    # Between gates of both directions neither bound may look better than it is.
    both = {operator in (">=", ">") for operator in toward} == {True, False}
    low = number(value.low, value.unit, frozenset({">="}) if both else toward)
    high = number(value.high, value.unit, frozenset({"<="}) if both else toward)
    return f"{shown} [{low}, {high}]"


def percent(share: float) -> str:
    """A share in whole percent, for sentences; what is not all or nothing is never called so.

    Args:
        share: between 0 and 1.
    """
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def span(value: Value) -> str:
    """An interval for narrow columns, as `.936–.970` or `16.9–17.5`; empty without one."""
    if value.low is None or value.high is None:
        return ""
    bounds = [f"{one:.3f}".removeprefix("0") if abs(one) < 10 else f"{one:.1f}" for one in (value.low, value.high)]
    return "–".join(bounds)


def plain(value: Value | None) -> str:
    """A number without its interval, with its unit if it has one; a dash where there is none."""
    if value is None or value.value is None:
        return "-"
    return number(value.value, value.unit) + (f" {value.unit}" if value.unit in UNITS else "")


def show_bound(value: float, digits: int, operator: Operator) -> str:
    """A bound as text, rounded toward failure: down for `>=` and `>`, up for `<=` and `<`.

    Args:
        value: the bound.
        digits: digits after the decimal point.
        operator: the gate's.
    """
    # The shortest decimal that is this float, so that 0.3 stays 0.3 although the float is a little less.
    exact = Decimal(repr(float(value)))
    rounded = exact.quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR if operator in (">=", ">") else ROUND_CEILING)
    return f"{rounded + 0:f}"


def brief(value: Mapping[str, Any] | None) -> str:
    """A stored number and half the width of its interval, short, as rich markup."""
    read = None if value is None else Value.model_validate(value)
    if read is None or read.value is None:
        return "-"
    number = f"{read.value:.0f}" if abs(read.value) >= 100 else f"{read.value:.3g}"
    if read.low is None or read.high is None or read.low == read.high:
        return number
    half = (read.high - read.low) / 2
    return f"{number} [dim]±{half:.0f}[/dim]" if half >= 10 else f"{number} [dim]±{half:.1g}[/dim]"
