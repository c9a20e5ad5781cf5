"""Inversion by gradients through the defense."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from adversaries.attacks.inversion.descent import (
    Components,
    Descent,
    Directions,
    Match,
    Pixels,
    best_of,
    descend,
    own_error,
)
from adversaries.attacks.inversion.inverter import Inverter
from adversaries.attacks.inversion.ridge_decoder import RidgeReconstruction, fit_ridge
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_WEIGHTS = {"components": (1e-3, 1e-2, 1e-1, 1.0), "pixels": (1e-3, 1e-1, 1.0)}
_STEP = {"components": 0.1, "pixels": 0.02}
_OWN = 32
_CHUNK = 128


@ADVERSARIES.register(
    "gradient-inversion", goals=("reconstruction",), variants=({"space": "components"}, {"space": "pixels"}), order=110
)
@dataclass(frozen=True, kw_only=True)
class GradientInversion(Reconstructor):
    """Moves images until the defense publishes what was seen.

    Knows: the fitted defense with its weights, mask, key and noise law; pairs of its own.
    Does: Adam on the distance between releases plus a prior on images: total variation over free `pixels`, or a
    Gaussian prior around the closed-form decoder's guess, along the principal `components` of the errors that it makes
    on its own images when they are left out. The prior's weight is the one that rebuilds some of its own images
    best. Restarts from that guess, the own image with the nearest release, the mean image and noise; of all iterates
    and restarts the one with the lowest own loss is kept, never by the truth. For a random defense the release is
    matched in expectation, over fresh randomness at every step.
    Source: He, Zhang, Lee, Model inversion attacks against collaborative inference, ACSAC 2019,
    doi:10.1145/3359789.3359824 (rMLE).

    Args:
        space: components or pixels.
        restarts: how many of the starts are tried, in the order above; at most 4.
        draws: releases per step whose mean is matched; more than 1 for random defenses.
        steps: gradient steps per restart.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L4"
    learns_pairs: ClassVar[bool] = False
    per_target: ClassVar[bool] = True

    space: Literal["components", "pixels"] = "components"
    restarts: int = 2
    draws: int = 1
    steps: int = 60
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Inverter:
        """Choose the prior's weight on own images; raises `NotApplicableError` where nothing flows through."""
        release, images = view.pairs
        count = min(_OWN, len(images) // 4)
        if count < 2:
            raise NotApplicableError(f"the attacker pool has {len(images)} pairs, too few to set the prior's weight")
        match = Match.of(view.defense, release, self.draws, images)
        ridge = fit_ridge(release, images, None, view.num_classes)
        errors = images - ridge.plain.left_out(images.flatten(1)).reshape(images.shape)
        directions = Directions.of(errors) if self.space == "components" else None
        seed = int(torch.randint(2**62, (), generator=generator))

        def run(weight: float, rows: Tensor, start: Tensor, guess: Tensor, own: torch.Generator) -> Descent:
            canvas = Pixels(start) if directions is None else Components(start, guess, directions)
            steps, lr = self.steps * self.times, _STEP[self.space]
            return descend(canvas, match, rows, own, weight=weight, steps=steps, lr=lr)

        # Its own images are new to a decoder that was fitted on the others.
        own, rest = slice(0, count), slice(count, None)
        guess = fit_ridge(release[rest], images[rest], None, view.num_classes).rebuild(release[own], None).clamp(0, 1)
        tried = {
            weight: run(weight, release[own], guess, guess, torch.Generator().manual_seed(seed))
            for weight in _WEIGHTS[self.space]
        }
        kept = min(tried, key=lambda weight: own_error(tried[weight].images, images[own]))

        def rebuild(rows: Tensor, own_generator: torch.Generator) -> Tensor:
            starts = _starts(rows, ridge, match, release, images, seed)
            return best_of(
                [run(kept, rows, start, starts[0], own_generator) for start in starts[: max(1, self.restarts)]]
            )

        return Inverter(
            run=rebuild,
            chunk=_CHUNK,
            seed=seed,
            gradient_steps=self.steps * self.times * max(1, self.restarts),
            flags=frozenset({"ZERO_GRADIENT"}) if tried[kept].flat else frozenset(),
        )

    def doubled(self) -> GradientInversion:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _starts(
    rows: Tensor, ridge: RidgeReconstruction, match: Match, release: Tensor, images: Tensor, seed: int
) -> list[Tensor]:
    """Starting images: decoded, nearest neighbor, mean, noise."""
    generator = torch.Generator().manual_seed(seed)
    near = torch.cdist(match.scaled(rows), match.scaled(release)).argmin(1)
    noise = torch.rand((len(rows), *images.shape[1:]), generator=generator).to(images.device)
    return [
        ridge.rebuild(rows, None).clamp(0, 1),
        images[near],
        images.mean(0).expand(len(rows), *images.shape[1:]).clone(),
        noise,
    ]
