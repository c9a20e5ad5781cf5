"""Gradient-boosted trees on the values of a release.

Axes: n rows, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import flat, spread
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class TreeAttack(Attack):
    """Boosted trees.

    Args:
        columns: positions of the values that are read.
        ensemble: the fitted trees of scikit-learn.
        classes: number of classes; those without a label get a share of 0.
        scale: probabilities.
    """

    columns: Int[Tensor, " c"]
    ensemble: Any
    classes: int
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Probabilities; each row stands alone."""
        shares = torch.zeros(len(release), self.classes)
        found = self.ensemble.predict_proba(flat(release)[:, self.columns].cpu().numpy())
        shares[:, torch.from_numpy(self.ensemble.classes_).long()] = torch.from_numpy(found).float()
        return shares


@ADVERSARIES.register("trees", goals=(), order=295)
@dataclass(frozen=True, kw_only=True)
class Trees(Adversary):
    """Gradient-boosted trees on the values of a release.

    Knows: labelled releases.
    Does: histogram gradient boosting for a fixed number of rounds.

    Args:
        rounds: of boosting.
        rows: labelled rows, at most.
        columns: values that are read, at most, evenly spread over the release.

    Source: Ke et al., LightGBM: a highly efficient gradient boosting decision tree, 2017, NeurIPS 30; scikit-learn's
        implementation.
    """

    level: ClassVar[Level] = "L2"

    rounds: int = 40
    rows: int = 20_000
    columns: int = 256

    def fit(self, view: Knowledge, generator: torch.Generator) -> TreeAttack:
        """Boost."""
        # Importing scikit-learn takes a second, which only those who boost should pay.
        from sklearn.ensemble import HistGradientBoostingClassifier

        release, y = view.labelled
        x, some = flat(release), spread(len(y), self.rows).to(y.device)
        columns = spread(x.shape[1], self.columns).to(y.device)
        ensemble = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            min_samples_leaf=5,
            max_bins=64,
            early_stopping=False,
            random_state=int(torch.randint(2**31, (), generator=generator)),
        )
        ensemble.fit(x[some][:, columns].cpu().numpy(), y[some].cpu().numpy())
        return TreeAttack(columns=columns, ensemble=ensemble, classes=view.num_classes)
