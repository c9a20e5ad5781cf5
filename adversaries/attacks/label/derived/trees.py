"""Gradient-boosted trees on raw and derived columns.

Axes: n rows, d columns, a axes, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat, spread, wide
from adversaries.learning.screening import require_several, telling
from adversaries.learning.summaries import summaries
from adversaries.threat import Level

_TREES = 600
_MOST_AXES, _MOST_ROWS, _FAR = 512, 4096, 100.0
_FEWEST_ROUNDS = 10


@dataclass(frozen=True, kw_only=True)
class TreeAttack(Attack):
    """Boosted trees on chosen columns.

    Args:
        features: releases to the chosen columns.
        ensemble: the fitted trees of scikit-learn.
        classes: number of classes; those without a label get a share of 0.
        gradient_steps: rounds of boosting.
        scale: probabilities.
    """

    features: Callable[[Tensor], Tensor]
    ensemble: Any
    classes: int
    gradient_steps: int
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Probabilities; each row stands alone."""
        shares = torch.zeros(len(release), self.classes)
        found = torch.from_numpy(self.ensemble.predict_proba(self.features(release).cpu().numpy())).float()
        shares[:, torch.from_numpy(self.ensemble.classes_).long()] = found
        return shares


@ADVERSARIES.register("trees", goals=("task", "attribute"), order=295)
@dataclass(frozen=True, kw_only=True)
class Trees(Adversary):
    """Gradient-boosted trees on the values of a release and on summaries of it.

    Knows: labelled releases; unlabelled ones for their principal axes.
    Does: puts norms, moments, counts, residues of counts, positions of extremes and principal axes beside the values,
    keeps the columns that tell most of the label inside the labelled rows, and boosts trees on them for a fixed number
    of rounds. One label per class is too few to choose columns by.
    Source: Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", NIPS 2017, as scikit-learn
    implements it.

    Args:
        rounds: of boosting, with two classes; with k of them, which need k trees a round, at most 600 / k.
        rate: how much of every tree is added.
        leaves: of one tree, at most.
        rows: labelled rows, at most.
        columns: columns that are kept, at most.
        times: factor on the rounds.
    """

    level: ClassVar[Level] = "L2"

    rounds: int = 100
    rate: float = 0.15
    leaves: int = 15
    rows: int = 20_000
    columns: int = 256
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> TreeAttack:
        """Choose columns and boost; raises `NotApplicableError` for few labels of a class or very many classes."""
        release, y = view.labelled
        require_several(y, view.num_classes)
        some = spread(len(y), self.rows).to(y.device)
        release, y = release[some], y[some]
        axes = _Axes.fit(flat(view.unlabelled))

        def columns(rows: Tensor) -> Tensor:
            values = flat(rows)
            return torch.cat([values, summaries(rows), axes(values)], dim=1)

        x = columns(release)
        kept = telling(x, y, view.num_classes, self.columns)
        trees = 1 if view.num_classes == 2 else view.num_classes
        rounds = max(_FEWEST_ROUNDS, min(self.rounds, _TREES // trees)) * self.times
        return TreeAttack(
            features=lambda rows: columns(rows)[:, kept],
            ensemble=self._boost(x[:, kept], y, rounds, generator),
            classes=view.num_classes,
            gradient_steps=rounds,
        )

    def doubled(self) -> Trees:
        """The same with twice the rounds."""
        return replace(self, times=2 * self.times)

    def _boost(self, x: Float[Tensor, "n d"], y: Int[Tensor, " n"], rounds: int, generator: torch.Generator) -> Any:
        # Importing scikit-learn takes a second, which only those who boost should pay.
        from sklearn.ensemble import HistGradientBoostingClassifier

        seed = int(torch.randint(2**31, (), generator=generator))
        ensemble = HistGradientBoostingClassifier(
            max_iter=rounds,
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=5,
            l2_regularization=1.0,
            max_bins=64,
            early_stopping=False,
            random_state=np.random.RandomState(seed % 2**31),
        )
        return ensemble.fit(x.cpu().numpy(), y.cpu().numpy())


@dataclass(frozen=True, kw_only=True)
class _Axes:
    """Principal axes of releases: what adds up to little, as the parts of a split number do, stands on one of the last.

    Args:
        scale: of every column.
        axes: unit vectors, the axis of the smallest spread first; none for wide releases.
    """

    scale: Columns
    axes: Float[Tensor, "d a"]

    @classmethod
    def fit(cls, pool: Float[Tensor, "n d"]) -> _Axes:
        """The axes of up to 4,096 releases of up to 512 values."""
        scale = Columns.fit(pool)
        if pool.shape[1] > _MOST_AXES:
            return cls(scale=scale, axes=pool.new_zeros((pool.shape[1], 0)))
        z = scale(pool[spread(len(pool), _MOST_ROWS).to(pool.device)]).clamp(-_FAR, _FAR).to(wide(pool.device))
        return cls(scale=scale, axes=torch.linalg.eigh(z.T @ z / len(z)).eigenvectors)

    def __call__(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n a"]:
        """Where every release stands on every axis."""
        return (self.scale(values).clamp(-_FAR, _FAR).to(self.axes.dtype) @ self.axes).float()
