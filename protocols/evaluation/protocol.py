"""A protocol: who attacks, what they are after, how it is conducted, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from adversaries.evidence import Evidence, Threat, Value
from protocols.evaluation.candidate import Candidate as Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.cross_protocol import Rival
from protocols.evaluation.metrics import LabelMetrics
from protocols.evaluation.registry import PROTOCOLS as PROTOCOLS


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


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Its candidates, its default threat level, and what conducts it.

    Args:
        name: as `--protocol` takes it.
        threat: the default threat level.
        conduct: from everything that was prepared to evidence and metrics.
        candidates: from the names of the unintended models and of the near twin to those who compete, in the order
            that breaks ties.
        per_attribute: whether they all compete for each private label.
        extra: the optional dependency group that it needs, or None.
        needs: the packages of that group that it imports.
    """

    name: str
    threat: str
    conduct: Callable[[Context], Findings]
    candidates: Callable[[Sequence[str], str | None], tuple[Candidate, ...]] = lambda _models, _twin: ()
    per_attribute: bool = False
    extra: str | None = None
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """How to install what is missing; empty if everything is there."""
        if self.extra is None or all(find_spec(package) is not None for package in self.needs):
            return ""
        return f"pip install -e '.[{self.extra}]' in the checkout of vfc"

    def not_run(self, seed: int, reason: str = "") -> list[Evidence]:
        """What is said of each adversary where something is missing, or for another reason."""
        reason = reason or f"the extra {self.extra!r} is not installed: {self.missing}"
        return [
            Evidence(
                protocol=self.name,
                adversary=name,
                goal=self.name,
                threat=Threat(level=self.threat, knows=()),
                seed=seed,
                status="not_run",
                reason=reason,
            )
            for name in dict.fromkeys(candidate.adversary for candidate in self.candidates([], None))
        ]
