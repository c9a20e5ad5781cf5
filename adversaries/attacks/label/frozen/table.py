"""The floor's guesser of an attribute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores, joint_counts
from adversaries.knowledge import Knowledge
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class TableAttack(Attack):
    """Class frequencies by the target's prediction.

    Args:
        shares: frequencies for each prediction of the pool.
        overall: frequencies in the whole pool, for a prediction that it does not show, and for none.
        scale: frequencies.
    """

    shares: Float[Tensor, "p k"]
    overall: Float[Tensor, " k"]
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """The same scores for every row."""
        return self.overall.repeat(len(release), 1)

    def guess_knowing(self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """The frequencies that go with each prediction."""
        scores = self.guess(release)
        known = prediction < len(self.shares)
        scores[known] = self.shares[prediction[known]]
        return scores


@ADVERSARIES.register("table", goals=("attribute",), order=1000)
@dataclass(frozen=True, kw_only=True)
class Table(Adversary):
    """Guess an attribute from the target's prediction on the release alone: the floor as a candidate.

    Knows: the labels of its own images, and what the target predicts on their releases.
    Does: never reads a release; the most frequent class for each prediction, and over all where there is no target.
    """

    level: ClassVar[Level] = "L0"
    trains_on_labels: ClassVar[bool] = False

    @property
    def uses_prediction(self) -> bool:
        """It uses nothing else."""
        return True

    def fit(self, view: Knowledge, generator: torch.Generator) -> TableAttack:  # noqa: ARG002
        """Count labels."""
        overall = torch.bincount(view.own_labels, minlength=view.num_classes).double()
        overall /= overall.sum()
        seen = view.own_predictions if view.knows_prediction else None
        if seen is None:
            return TableAttack(shares=overall[:0, None].repeat(1, view.num_classes).float(), overall=overall.float())
        counts = joint_counts(seen, view.own_labels, 1 + int(seen.max()), view.num_classes)
        total = counts.sum(1, keepdim=True)
        shares = torch.where(total > 0, counts / total.clamp_min(1), overall)
        return TableAttack(shares=shares.float(), overall=overall.float())
