"""Regularized maximum likelihood estimation of the literature, as a reference beside our own descents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.attacks.inversion.descent import Descent, Match, Pixels, descend, own_error
from adversaries.attacks.inversion.inverter import Inverter
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns
from adversaries.threat import Level

_WEIGHTS = (0.0, 1e-2, 1e-1, 1.0, 10.0)
_OWN = 16
_CHUNK = 256


@ADVERSARIES.register("rmle", goals=("reconstruction",), order=115)
@dataclass(frozen=True, kw_only=True)
class Rmle(Reconstructor):
    """The white-box attack of He et al.: pixels moved from gray until the release fits, with total variation.

    Knows: the fitted defense; for the weight alone some pairs of its own.
    Does: Adam on the squared difference of releases plus a weight times total variation, from a gray image, one start,
    no decoder. The source sets the weight by hand for each layer; here it is the one that rebuilds a few own images
    best, and the difference is in units of the release's overall variance. A reference beside `gradient-inversion`,
    which a report at budget `full` shows; written from the paper, not from its code.
    Source: He, Zhang, Lee, Model inversion attacks against collaborative inference, ACSAC 2019,
    doi:10.1145/3359789.3359824 (section 4).

    Args:
        steps: gradient steps; the source takes 5,000.
        lr: first step size.
        draws: releases per step whose mean is matched; more than 1 for random defenses.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L4"
    learns_pairs: ClassVar[bool] = False
    per_target: ClassVar[bool] = True

    steps: int = 5000
    lr: float = 1e-2
    draws: int = 1
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Inverter:
        """Choose the weight on own images; raises `NotApplicableError` where nothing flows through."""
        release, images = view.pairs
        match = Match.of(view.defense, release, self.draws, images)
        match = replace(match, columns=_one_scale(match.columns))
        steps, shape = self.steps * self.times, images.shape[1:]
        seed = int(torch.randint(2**62, (), generator=generator))

        def run(rows: Tensor, weight: float, own: torch.Generator) -> Descent:
            canvas = Pixels(torch.full((len(rows), *shape), 0.5, device=rows.device))
            return descend(canvas, match, rows, own, weight=weight, steps=steps, lr=self.lr)

        tried = {w: run(release[:_OWN], w, torch.Generator().manual_seed(seed)) for w in _WEIGHTS}
        kept = min(tried, key=lambda weight: own_error(tried[weight].images, images[:_OWN]))
        return Inverter(
            run=lambda rows, own: run(rows, kept, own).images,
            chunk=_CHUNK,
            seed=seed,
            gradient_steps=steps,
            flags=frozenset({"ZERO_GRADIENT"}) if tried[kept].flat else frozenset(),
        )

    def doubled(self) -> Rmle:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _one_scale(columns: Columns) -> Columns:
    """One scale for all values that vary, so that loud ones count more, as in a plain squared difference."""
    alive = columns.inverse > 0
    variance = (1 / columns.inverse[alive]).square().mean() if bool(alive.any()) else columns.inverse.new_ones(())
    return Columns(mean=columns.mean, inverse=torch.where(alive, 1 / variance.sqrt(), 0.0).to(columns.inverse))
