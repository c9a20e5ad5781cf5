"""The floor's guesser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class ConstantAttack(Attack):
    """The same scores for every release.

    Args:
        scores: one score per class.
        scale: frequencies.
    """

    scores: Float[Tensor, " k"]
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """The same scores for every row."""
        return self.scores.repeat(len(release), 1)


@ADVERSARIES.register("majority", goals=("task",), order=1000)
@dataclass(frozen=True, kw_only=True)
class Majority(Adversary):
    """Always guess the most frequent class of the attacker's pool: the floor as a candidate.

    Knows: the labels of its own images.
    Does: never reads a release; of several equally frequent classes it takes the lowest.
    """

    level: ClassVar[Level] = "L0"
    trains_on_labels: ClassVar[bool] = False

    def fit(self, view: Knowledge, generator: torch.Generator) -> ConstantAttack:  # noqa: ARG002
        """Count labels."""
        return ConstantAttack(scores=torch.bincount(view.own_labels, minlength=view.num_classes).float())
