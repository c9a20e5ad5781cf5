"""The adversaries that rebuild images."""

from __future__ import annotations

from protocols.evaluation.candidate import Candidate, collect, floor_guessers

SLOW = ("deep-prior",)
"""Adversaries that train a network for each release: not at `smoke`."""


def rebuilders(budget: str = "full", *, planar: bool = True) -> tuple[Candidate, ...]:
    """Every adversary that rebuilds images; the floor's guessers come last.

    Args:
        budget: at `smoke` some are left out, and others compete in one form only.
        planar: whether a release has two spatial axes.
    """
    everybody = (*collect("reconstruction"), *floor_guessers("reconstruction"))
    if budget != "smoke":
        return everybody
    forms = {"decoder": ("form", "image" if planar else "vector"), "gradient-inversion": ("space", "components")}

    def kept(candidate: Candidate) -> bool:
        option, form = forms.get(candidate.adversary, ("", None))
        return candidate.adversary not in SLOW and candidate.settings.get(option) == form

    return tuple(each for each in everybody if kept(each))
