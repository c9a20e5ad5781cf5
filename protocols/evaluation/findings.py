"""What a protocol found: evidence, numbers of the catalog, and who also attacked the task label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adversaries.evidence import Evidence, Value
from protocols.evaluation.cross_protocol import Rival
from protocols.evaluation.metrics import LabelMetrics


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a protocol found.

    Args:
        evidence: every attempt.
        metrics: numbers of the catalog.
        ladder: the ladder's numbers on the task label, which `adaptive.*` comes from.
        rivals: further adversaries on the task label, who compete for `adaptive.*` from `--threat L3` on.
    """

    evidence: list[Evidence] = field(default_factory=list)
    metrics: Mapping[str, Value] = field(default_factory=dict)
    ladder: LabelMetrics | None = None
    rivals: Sequence[Rival] = ()
