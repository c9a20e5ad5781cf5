"""The adversaries that attack private attributes."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.evaluation.candidate import Candidate, collect, floor_guessers

SLOW = ("entropy", "adapter", "fine-tune")
"""Adversaries that retrain a model: at `smoke` only one model of each."""


def attribute_ladder(models: Sequence[str], twin: str | None, budget: str = "full") -> tuple[Candidate, ...]:
    """Every adversary of one attribute; the near twin has no part in it.

    Args:
        models: the unintended models.
        twin: the near twin among them, if there is one.
        budget: at `smoke` those who retrain a model start from the first only.
    """
    others = [model for model in models if model != twin]
    everybody = (*collect("attribute", models=others), *floor_guessers("attribute"))
    if budget != "smoke":
        return everybody
    return tuple(each for each in everybody if each.adversary not in SLOW or each.settings["model"] == others[0])
