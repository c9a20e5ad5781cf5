"""The adversaries that attack the task label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocols.evaluation.candidate import Candidate, collect, floor_guessers

APART: tuple[tuple[str, Mapping[str, str]], ...] = (("batchnorm", {}), ("fine-tune", {"scope": "all"}))
"""What starts from the near twin besides the frozen models; reported apart."""


def frozen(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Adversaries of L0: frozen unintended models on the release as it is, and on the release made a picture."""
    return collect("task", levels=("L0",), models=models, twin=twin)


def ladder(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Every adversary of the task label, at every level of knowledge."""
    everybody = collect("task", models=models, twin=twin)
    apart = [
        Candidate(adversary=adversary, settings={"model": twin, **options}, headline=False)
        for adversary, options in APART
        if twin is not None
    ]
    return (*everybody, *apart, *floor_guessers("task"))
