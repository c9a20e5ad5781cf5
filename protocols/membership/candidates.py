"""The adversaries that tell on which images a defense was fitted."""

from __future__ import annotations

from protocols.evaluation.candidate import Candidate, collect


def readers() -> tuple[Candidate, ...]:
    """Every adversary of membership."""
    return collect("membership")
