"""Stored numbers at another level, and the numbers of several seeds as one. Imports no torch.

A `Value` says in `method` how it was made and keeps its counts, or the key of its rows in the sidecar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from adversaries.evidence import Value
from adversaries.statistics import estimates, labels_needed, worst_class

_SEEDS = "lowest low and highest high over seeds: "


def over_seeds(values: Sequence[Value]) -> Value:
    """k repeats as one number: value = mean, low = lowest low, high = highest high. Never k times the trials.

    Counts are kept under `0/k`, `1/k`, ..., sidecar keys joined by commas, so that another level can be computed. One
    seed is returned as it is; if any seed is unknown, so is the whole.
    """
    if not values:
        raise ValueError("expected at least one value")
    if len(values) == 1:
        return values[0]
    first = values[0]
    flags = tuple(sorted({flag for value in values for flag in value.flags}))
    for value in values:
        if value.value is None or value.low is None or value.high is None:
            return Value.unknown(value.reason or "unknown for one of the seeds", unit=first.unit, flags=flags)
    methods = [value.method for value in values]
    counts = {f"{i}/{key}": count for i, value in enumerate(values) for key, count in (value.counts or {}).items()}
    keys = [value.rows for value in values if value.rows]
    numbers = tuple(value.value for value in values if value.value is not None)
    return Value(
        value=sum(numbers) / len(numbers),
        low=min(value.low for value in values if value.low is not None),
        high=max(value.high for value in values if value.high is not None),
        n=min(value.n for value in values),
        confidence=first.confidence,
        unit=first.unit,
        method=_SEEDS + (methods[0] if len(set(methods)) == 1 else " | ".join(methods)),
        counts=counts or None,
        rows=",".join(keys) if len(keys) == len(values) else None,
        per_seed=numbers,
        censored=any(value.censored for value in values),
        flags=flags,
    )


def over_draws(values: Sequence[Value], alpha: float = estimates.ALPHA) -> Value:
    """The mean over several draws of an attacker's labelled releases, with bounds that combine both kinds of luck.

    Each bound is the mean moved by what the targets' bound is away from the number, at half the level and for the draw
    where that is most, and by Student's t over the draws, at the other half. One draw is returned as it is.

    Args:
        values: of every draw; any statistic.
        alpha: one-sided level of each bound.
    """
    if len(values) == 1:
        return values[0]
    first = values[0]
    flags = tuple(sorted({flag for value in values for flag in value.flags}))
    for value in values:
        if value.value is None:
            return Value.unknown(value.reason or "unknown for one of the draws", unit=first.unit, flags=flags)
    parts = tuple(value.model_copy(update={"flags": (), "reason": None}) for value in values)
    low, middle, high = _around(parts, alpha, None)
    return Value(
        value=middle,
        low=low,
        high=high,
        n=min(value.n for value in values),
        confidence=estimates.confidence_of(alpha),
        unit=first.unit,
        method=f"mean over {len(values)} draws of labels: {first.method}",
        draws=parts,
        flags=flags,
        reason=None if low is not None else "bounds of the draws cannot be computed from what is stored",
    )


def _around(
    draws: Sequence[Value], alpha: float, rows: Mapping[str, Any] | None
) -> tuple[float | None, float, float | None]:
    """Low, mean and high of several draws; no bounds where those of a draw are unknown."""
    import numpy as np
    from scipy.special import stdtrit

    numbers = np.array([draw.value for draw in draws], np.float64)
    middle, count = float(numbers.mean()), len(numbers)
    parts = [recompute(draw, alpha / 2, rows) for draw in draws]
    luck = float(stdtrit(count - 1, 1 - alpha / 2)) * float(numbers.std(ddof=1)) / count**0.5
    below = [part.value - part.low for part in parts if part.value is not None and part.low is not None]
    above = [part.high - part.value for part in parts if part.value is not None and part.high is not None]
    if len(below) < count or len(above) < count:
        return None, middle, None
    low, high = middle - max(below) - luck, middle + max(above) + luck
    if draws[0].unit in ("rate", "ratio"):  # neither is ever negative
        low = max(0.0, low)
    return low, middle, min(1.0, high) if draws[0].unit == "rate" else high


def needs_rows(value: Value) -> bool:
    """Whether bounds at another level need the sidecar."""
    if value.draws:
        return any(map(needs_rows, value.draws))
    return value.value is not None and value.counts is None and value.rows is not None


def recompute(value: Value, alpha: float, rows: Mapping[str, Any] | None = None) -> Value:
    """The same number with bounds at another level.

    Args:
        value: from `adversaries.statistics.estimates`.
        alpha: the new one-sided level of each bound.
        rows: the sidecar's arrays by key, for what is bootstrapped or averaged.

    Returns:
        Null bounds with the reason if neither counts nor rows are at hand. Flags, `also`, unit and n are kept.
    """
    if (
        value.value is None
        or (value.low == value.high == value.value and not value.curve)
        or value.confidence == estimates.confidence_of(alpha)
    ):
        return value
    if value.curve:
        needed = labels_needed.labels_needed(value.curve, lambda each, level: recompute(each, level, rows), alpha)
        return value.model_copy(update={"low": needed.low, "high": needed.high, "confidence": needed.confidence})
    if value.draws:
        low, _, high = _around(value.draws, alpha, rows)
        if low is None or high is None:
            return _no_bounds(value, alpha)
        return value.model_copy(update={"low": low, "high": high, "confidence": estimates.confidence_of(alpha)})
    if value.method.startswith(_SEEDS):
        parts = [recompute(part, alpha, rows) for part in _split(value)]
        lows, highs = [part.low for part in parts], [part.high for part in parts]
        if None in lows or None in highs:
            return _no_bounds(value, alpha)
        low, high = min(low for low in lows if low is not None), max(high for high in highs if high is not None)
        return value.model_copy(update={"low": low, "high": high, "confidence": estimates.confidence_of(alpha)})
    fresh = _again(value, alpha, rows)
    if fresh is None or fresh.low is None or fresh.high is None:
        return _no_bounds(value, alpha)
    return value.model_copy(update={"low": fresh.low, "high": fresh.high, "confidence": fresh.confidence})


def _again(value: Value, alpha: float, rows: Mapping[str, Any] | None) -> Value | None:
    """Compute a value anew from its method and its counts or rows; None without them."""
    counts = value.counts or {}
    if value.method == estimates.RATE and "k" in counts:
        return estimates.rate(counts["k"], value.n, alpha)
    if value.method == estimates.ADVANTAGE and {"k", "n", "other_k", "others"} <= counts.keys():
        return estimates.advantage(counts["k"], counts["n"], counts["other_k"], counts["others"], alpha)
    if value.method == estimates.DIFFERENCE and {"n11", "n10", "n01", "n00"} <= counts.keys():
        return estimates.difference_of(counts, alpha)
    if value.method in (estimates.RATIO, estimates.SUPPRESSION) and {"n11", "n10", "n01", "n00"} <= counts.keys():
        return estimates.ratio_of(counts, alpha)
    if value.method.startswith(labels_needed.MARGIN):
        return labels_needed.margin_again(value, alpha)
    if value.rows is None or rows is None or value.rows not in rows:
        return None
    if value.method.startswith(estimates.LEAKAGE):
        seed = re.search(r"seed (\d+)$", value.method)
        attack, floor, ceiling = rows[value.rows]
        return estimates.leakage(attack, floor, ceiling, alpha, int(seed.group(1)) if seed else 0)
    if value.method == estimates.MEAN:
        return estimates.mean(rows[value.rows], value.unit, alpha)
    return worst_class.again(value, alpha, rows)


def _split(value: Value) -> list[Value]:
    """The seeds of `over_seeds`, as far as they are needed to compute bounds."""
    seeds = len(value.per_seed)
    methods = value.method.removeprefix(_SEEDS).split(" | ")
    keys = value.rows.split(",") if value.rows else [None] * seeds
    parts = []
    for i, number in enumerate(value.per_seed):
        prefix = f"{i}/"
        counts = {k.removeprefix(prefix): n for k, n in (value.counts or {}).items() if k.startswith(prefix)}
        method = methods[i] if len(methods) == seeds else methods[0]
        updates = {"value": number, "method": method, "counts": counts or None, "rows": keys[i], "per_seed": ()}
        parts.append(value.model_copy(update=updates))
    return parts


def _no_bounds(value: Value, alpha: float) -> Value:
    confidence = estimates.confidence_of(alpha)
    why = "need the rows of report.safetensors" if needs_rows(value) else "cannot be computed from what is stored"
    reason = f"bounds at confidence {confidence:.4g} {why}"
    return value.model_copy(update={"low": None, "high": None, "confidence": confidence, "reason": reason})
