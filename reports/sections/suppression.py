"""The suppression ratio in words, for the sections that attack the task label."""

from __future__ import annotations

from reports.model.attempt_index import AttemptIndex

BELOW_ONE = "below 1: other models do better than the target model"
"""What a suppression ratio under 1 says."""


def suppression_remark(index: AttemptIndex, name: str) -> str:
    """What to read beside a suppression ratio.

    Args:
        index: the attempts.
        name: the ratio's metric.
    """
    most, found = _maximum(index, name), index.known(name)
    limit = "at most target model / floor" if most is None else f"at most {most:.3f}, given the floor"
    below = found is not None and found.value is not None and found.value < 1
    return f"{limit}; {BELOW_ONE}" if below else limit


def _maximum(index: AttemptIndex, name: str) -> float | None:
    """The largest suppression ratio that labels alone allow: target model / floor; None if unknown."""
    value, target, floor = index.report.metrics.get(name), index.report.target.accuracy.value, index.floor
    counts = (value.counts if value is not None else None) or {}
    if counts.get("floor") and {"n11", "n10"} <= set(counts):
        return (counts["n11"] + counts["n10"]) / counts["floor"]
    if floor is None or not floor.value or target is None:
        return None
    return target / floor.value
