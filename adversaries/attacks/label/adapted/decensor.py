"""De-censoring: what a clean network would have computed from the image, guessed from the release, then read.

Axes: n pairs, m labelled releases, f features, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.attacks.label.probes.linear import fit_logistic
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.networks import head_inputs
from adversaries.learning.prediction import InformedAttack, PredictionTable
from adversaries.learning.ridge_map import RidgeMap
from adversaries.threat import Level


@ADVERSARIES.register("decensor", goals=("attribute",), order=420)
@dataclass(frozen=True, kw_only=True)
class Decensor(Adversary):
    """Maps releases to the features that an uncensored network has of the image, and attacks those.

    Knows: its own images with their releases, a clean model trained on such images, the labels of some of them; for an
    attribute also the target's predictions.
    Does: kernel ridge regression from the release to what reaches the clean model's head on the image, kernel and
    penalty by leave-one-out; then logistic regression on the mapped features. What it learns labels from are the
    left-out predictions, so that labelled releases look to it like new ones.
    Source: Song, Shmatikov, "Overlearning Reveals Sensitive Attributes", ICLR 2020, arXiv 1905.11742 (de-censoring;
    there the map is a network).

    Args:
        model: name of the clean model.
        iterations: L-BFGS iterations per fit, at most.
    """

    level: ClassVar[Level] = "L3"
    per_model: ClassVar[bool] = True

    model: str
    iterations: int = 60

    @property
    def uses_prediction(self) -> bool:
        """Where the goal grants it."""
        return True

    def fit(self, view: Knowledge, generator: torch.Generator) -> InformedAttack:  # noqa: ARG002
        """Fit; closed form and convex, so no randomness is used."""
        release, images = view.pairs
        seen_by = head_inputs(view.model(self.model), images)
        features = Columns.fit(seen_by)(seen_by)
        scale = Columns.fit(flat(release))

        def prepare(rows: Tensor) -> Tensor:
            return scale(flat(rows)).clamp(-10, 10)

        mapping = RidgeMap.fit(prepare, prepare(release), features)
        mapped = mapping.left_out(features)
        columns = Columns.fit(mapped)
        y, table = view.labelled[1], PredictionTable.fit(view)
        x, offsets = columns(mapped[view.labelled_pairs]), None
        seen = view.labelled_predictions if table is not None else None
        if table is not None and seen is not None:
            x, offsets = table.beside(x, seen), table.offsets(seen, y)
        logistic = fit_logistic(x, y, view.num_classes, iterations=self.iterations, prior=offsets, by="likelihood")
        return InformedAttack(
            columns=lambda rows: columns(mapping(rows)),
            table=table,
            labels=y,
            logits=logistic.logits,
            gradient_steps=logistic.iterations,
            flags=frozenset({"ZERO_GRADIENT"}) if logistic.zero_gradient else frozenset(),
        )

    def doubled(self) -> Decensor:
        """The same with twice the iterations."""
        return replace(self, iterations=2 * self.iterations)
