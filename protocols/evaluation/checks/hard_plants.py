"""The power control of attributes and membership: a leak of a hard kind planted in a copy of what is attacked.

The task has the target model as its control. Of these nobody is known to read the release, so that who finds nothing
must have found what was planted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from adversaries.evidence import Evidence, Value
from adversaries.health import HONESTY, UNREAD, overlooked

MISSED = "PLANTED_MISSED"
_PLANTED = "planted."


def with_missed_plants(metrics: Mapping[str, Value], evidence: Sequence[Evidence]) -> dict[str, Value]:
    """Metrics with a power flag on all numbers of the goals in which no honest adversary found what was planted.

    Args:
        metrics: of the catalog.
        evidence: of everybody.
    """
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in evidence:
        for name, value in row.metrics.items():
            if name.startswith(_PLANTED):
                heard = said[row.goal, name]
                if not set(row.health) & set(HONESTY):
                    heard.add(UNREAD if value.value is None else str(value.reason))
    goals = {goal for (goal, _), heard in said.items() if overlooked(heard)}

    def flagged(name: str, value: Value) -> Value:
        if controlled(name) not in goals:
            return value
        return value.model_copy(update={"flags": tuple(sorted({*value.flags, MISSED}))})

    return {name: flagged(name, value) for name, value in metrics.items()}


def controlled(metric: str) -> str:
    """The goal whose planted leak is the control of a metric; empty where another control decides."""
    first, _, rest = metric.partition(".")
    if first == "attribute":
        return f"attribute:{rest.rpartition('.')[0]}"
    return first if first == "membership" else ""
