"""What the target's prediction alone says about an attribute: the floor's knowledge, for attacks that start from it.

Axes: n rows, m labelled rows, d columns, p predictions, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import Attack
from adversaries.goals.label import joint_counts
from adversaries.knowledge import Knowledge


@dataclass(frozen=True, kw_only=True)
class PredictionTable:
    """Log-probability of every class given the target's prediction, counted on the attacker's own images.

    Each row is shrunk toward the class frequencies as if by one more image; the last row stands for predictions that
    the pool never shows, and for none.

    Args:
        logs: log p(class | prediction).
        prior: log p(class) in the pool.
    """

    logs: Float[Tensor, "p k"]
    prior: Float[Tensor, " k"]

    @classmethod
    def fit(cls, view: Knowledge) -> PredictionTable | None:
        """Count; None where the attacker is not told any prediction."""
        seen = view.own_predictions if view.knows_prediction else None
        if seen is None:
            return None
        counts = joint_counts(seen, view.own_labels, 1 + int(seen.max()), view.num_classes)
        # A class that the pool does not show keeps a little probability, so that logarithms stay finite.
        prior = (counts.sum(0) + 0.5) / (counts.sum() + 0.5 * view.num_classes)
        counts = torch.cat([counts, torch.zeros_like(counts[:1])])
        shares = (counts + prior) / (counts.sum(1, keepdim=True) + 1)
        return cls(logs=shares.log().float(), prior=prior.log().float())

    def offsets(self, prediction: Int[Tensor, " n"], labels: Int[Tensor, " m"]) -> Float[Tensor, "n k"]:
        """Logits to start from: what the prediction says, for a learner whose rows have the class mix of `labels`."""
        mix = torch.bincount(labels, minlength=len(self.prior)).to(self.prior) + 0.5
        return self.logs[self._rows(prediction)] - self.prior + (mix / mix.sum()).log()

    def beside(self, x: Float[Tensor, "n d"], prediction: Int[Tensor, " n"]) -> Float[Tensor, "n dp"]:
        """Columns with the one-hot prediction beside them."""
        return torch.cat([x, torch.nn.functional.one_hot(self._rows(prediction), len(self.logs)).to(x)], dim=1)

    def unknown(self, rows: int) -> Int[Tensor, " n"]:
        """Predictions that say nothing."""
        return torch.full((rows,), len(self.logs) - 1, device=self.logs.device)

    def _rows(self, prediction: Tensor) -> Tensor:
        return prediction.clamp(max=len(self.logs) - 1)


@dataclass(frozen=True, kw_only=True)
class InformedAttack(Attack):
    """Columns of the release and the target's prediction, to logits that start from what the prediction says.

    Args:
        columns: releases to columns.
        table: what predictions say; None where there is no target.
        labels: labels that it learned from, whose class mix the logits assume.
        logits: columns, and the logits to start from, to logits.
        gradient_steps: optimizer steps taken.
        flags: doubts about the fit.
    """

    columns: Callable[[Tensor], Tensor]
    table: PredictionTable | None
    labels: Int[Tensor, " m"]
    logits: Callable[[Tensor, Tensor | None], Tensor]
    gradient_steps: int
    flags: frozenset[str]

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits where the prediction is not told."""
        if self.table is None:
            return self.logits(self.columns(release), None)
        return self.guess_knowing(release, self.table.unknown(len(release)))

    def guess_knowing(self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
        """Logits; each row stands alone."""
        if self.table is None:
            return self.guess(release)
        x = self.table.beside(self.columns(release), prediction)
        return self.logits(x, self.table.offsets(prediction, self.labels))
