"""Leakage about the class that leaks most, with bounds that hold for all classes at once. Imports no torch.

Axes: q classes, n targets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adversaries.evidence import Value
from adversaries.statistics import estimates

METHOD = "worst of classes, Bonferroni over all of them"
"""How `method` of such a value begins."""


def worst_class_leakage(
    tables: Any, alpha: float = estimates.ALPHA, seed: int = 0, rows: str | None = None, *, names: tuple[int, ...] = ()
) -> Value:
    """The largest leakage of several classes; low and high are the largest bounds, each at alpha / q.

    The bounds of all classes hold together, so the largest low and the largest high bound the largest leakage,
    whichever class that is.

    Args:
        tables: hits of attack, floor and ceiling on the question about each class, shape (q, 3, n), 0 or 1; a target
            that is not graded for a class is 2 throughout.
        alpha: one-sided level of each bound.
        seed: seed of the bootstrap.
        rows: key under which the sidecar keeps `tables`.
        names: the classes, for `method`; positions by default.

    Returns:
        Unknown where that is so for every class: `decided by the task label`, or no targets.
    """
    import numpy as np

    codes = np.asarray(tables)
    if codes.ndim != 3 or codes.shape[1] != 3:
        raise ValueError(f"expected tables of shape (q, 3, n), got {codes.shape}")
    found: dict[int, Value] = {}
    for position, table in enumerate(codes):
        attack, floor, ceiling = table[:, (table != 2).all(axis=0)]
        value = estimates.leakage(attack, floor, ceiling, alpha / len(codes), seed)
        if value.value is not None:
            found[position] = value
    if not found:
        nobody = not (codes != 2).any()
        return Value.unknown("no targets" if nobody else estimates.TASK_DECIDES, unit="leakage")
    worst = max(found, key=lambda position: found[position].value or 0.0)
    name = names[worst] if names else worst
    return found[worst].model_copy(
        update={
            "low": max(value.low for value in found.values() if value.low is not None),
            "high": max(value.high for value in found.values() if value.high is not None),
            "confidence": round(1 - 2 * alpha, 12),
            "method": f"{METHOD}, {len(found)} of {len(codes)} measured, class {name} leaks most, seed {seed}",
            "rows": rows,
        }
    )


def again(value: Value, alpha: float, rows: Mapping[str, Any]) -> Value | None:
    """The same value at another level, from the sidecar; None if it is not such a value, or its rows are missing."""
    seed = re.search(r"seed (\d+)$", value.method)
    if not value.method.startswith(METHOD) or seed is None or value.rows is None or value.rows not in rows:
        return None
    return worst_class_leakage(rows[value.rows], alpha, int(seed.group(1)))
