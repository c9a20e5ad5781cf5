"""The adversaries that know a defense's mask, and those they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from protocols.evaluation.candidate import Candidate, collect

AGNOSTIC = ("linear", "mlp", "cnn")
"""Probes that do not know the mask; unintended models are retrained besides."""


def aware(models: Sequence[str], twin: str | None, options: Mapping[str, Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Those who know the mask.

    Args:
        models: the unintended models.
        twin: the near twin among them, which has no part in it.
        options: the user's, by probe.
    """

    def with_options(candidate: Candidate) -> Candidate:
        own = options.get(str(candidate.settings.get("probe")))
        return replace(candidate, settings={**candidate.settings, "options": own}) if own else candidate

    found = collect("mask", models=[model for model in models if model != twin])
    return tuple(with_options(each) for each in found)


def agnostic(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Those who do not know it, with the same labelled releases and the same kinds of readers."""
    probes = [Candidate(adversary=probe) for probe in AGNOSTIC]
    return (
        *probes,
        *(Candidate(adversary="fine-tune", settings={"model": m, "scope": "all"}) for m in models if m != twin),
    )
