"""Probes on signs and zeros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import ProbeAttack, fit_best, flat
from adversaries.threat import Level


@ADVERSARIES.register("signs", goals=("task", "attribute"), order=280)
@dataclass(frozen=True, kw_only=True)
class Signs(Adversary):
    """A probe on which values are negative, zero, positive, and above their column's median.

    Knows: labelled releases; unlabelled ones for the medians.
    Does: ridge regression on those patterns, linear or with all their pairwise products, by leave-one-out inside the
    labelled rows.
    """

    level: ClassVar[Level] = "L2"

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness."""
        release, y = view.labelled
        middle = flat(view.unlabelled).median(0).values
        pool = _patterns(flat(view.unlabelled), middle)
        varies = (pool != pool[:1]).any(0)
        if not bool(varies.any()):
            varies[0] = True

        def features(rows: Tensor) -> Tensor:
            return _patterns(flat(rows), middle)[:, varies].float()

        ridge = fit_best(features(release), y, view.num_classes, (("linear", 1.0), ("quadratic", 1.0)))
        return ProbeAttack(features=features, ridge=ridge)


def _patterns(x: Tensor, middle: Tensor) -> Tensor:
    """Sign, zero and side of the median, side by side, as small integers."""
    side = torch.where(x > middle, 1, -1).to(torch.int8)
    return torch.cat([x.sign().to(torch.int8), (x == 0).to(torch.int8), side], dim=1)
