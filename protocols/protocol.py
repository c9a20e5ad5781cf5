"""A protocol: who attacks, what they are after, and how it is conducted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.candidate import Candidate as Candidate
from protocols.registries import PROTOCOLS as PROTOCOLS
from protocols.study import Findings, Study


def nobody(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:  # noqa: ARG001  (a protocol's shape)
    """The candidates of a protocol that does not choose among adversaries of labels."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Who attacks, and what they are after.

    Args:
        name: as `--protocol` takes it.
        threat: the default threat level.
        conduct: from everything that was prepared to evidence and metrics.
        candidates: from the names of the unintended models and of the near twin to the candidates that attack labels,
            in the order that breaks ties.
    """

    name: str
    threat: str
    conduct: Callable[[Study], Findings]
    candidates: Callable[[Sequence[str], str | None], tuple[Candidate, ...]] = nobody
