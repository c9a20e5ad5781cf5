"""Inversion with an untrained network as the prior.

Axes: n images, c channels, h and w pixels, f features of a small map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adversaries.attacks.inversion.descent import Canvas, Match, descend, total_variation
from adversaries.attacks.inversion.inverter import Inverter
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.threat import Level

_CHUNK = 32


class Untrained(Canvas):
    """One small up-sampling network per image, each with a fixed random input; only weights move."""

    def __init__(
        self, count: int, shape: tuple[int, ...], width: int, generator: torch.Generator, device: torch.device
    ) -> None:
        self.shape = shape
        sides = [shape[1:]]
        while min(sides[0]) > 4 and len(sides) < 5:
            sides.insert(0, ((sides[0][0] + 1) // 2, (sides[0][1] + 1) // 2))
        self.sides = sides
        self.code = (torch.rand(count, width, *sides[0], generator=generator) * 0.1).to(device)
        inputs = [width] * (len(sides) + 1)
        outputs = [width] * len(sides) + [shape[0]]
        self.weights = [
            (torch.randn(count, o, i * 9, generator=generator) * math.sqrt(2 / (9 * i))).to(device).requires_grad_()
            for i, o in zip(inputs, outputs, strict=True)
        ]
        self.biases = [torch.zeros(count, o, 1, device=device, requires_grad=True) for o in outputs]

    @property
    def moving(self) -> list[Tensor]:
        """All weights."""
        return [*self.weights, *self.biases]

    def images(self) -> Float[Tensor, "n c h w"]:
        """What the networks make of their inputs."""
        x = self.code
        for position, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            side = self.sides[min(position, len(self.sides) - 1)]
            if tuple(x.shape[2:]) != tuple(side):
                x = nn.functional.interpolate(x, size=tuple(side), mode="bilinear", align_corners=False)
            x = (weight @ nn.functional.unfold(x, 3, padding=1) + bias).reshape(len(x), -1, *side)
            if position < len(self.weights) - 1:
                # Every map to mean 0 and deviation 1, or plain gradient steps go nowhere.
                x = nn.functional.leaky_relu(nn.functional.instance_norm(x), 0.1)
        return torch.sigmoid(x)

    def penalty(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """Total variation."""
        return total_variation(images)


@ADVERSARIES.register("deep-prior", goals=("reconstruction",), order=120)
@dataclass(frozen=True, kw_only=True)
class DeepPrior(Reconstructor):
    """Trains an untrained network, per release, to draw an image that the defense publishes as it.

    Knows: the fitted defense; releases of its own for the scale of every value.
    Does: a small up-sampling network with a fixed random input for every release; its structure is the prior on images.
    Adam on the distance between releases plus a little total variation; the iterate with the lowest own loss is kept.
    Source: Ulyanov, Vedaldi, Lempitsky, Deep image prior, 2017, arXiv 1711.10925; as an inversion: Singh et al., DISCO,
    2021, arXiv 2012.11025.

    Args:
        width: channels of every map.
        weight: of total variation.
        draws: releases per step whose mean is matched; more than 1 for random defenses.
        lr: first step size.
        steps: gradient steps.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L4"
    learns_pairs: ClassVar[bool] = False
    per_target: ClassVar[bool] = True

    width: int = 16
    weight: float = 1e-3
    draws: int = 1
    lr: float = 1e-2
    steps: int = 300
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Inverter:
        """Nothing is learned ahead; raises `NotApplicableError` where nothing flows through."""
        release, images = view.pairs
        match = Match.of(view.defense, release, self.draws, images)
        shape = tuple(images.shape[1:])
        canvas = Untrained(2, shape, self.width, torch.Generator().manual_seed(0), images.device)
        flat = descend(canvas, match, release[:2], generator, weight=0.0, steps=1, lr=self.lr).flat
        steps = self.steps * self.times

        def draw(rows: Tensor, own_generator: torch.Generator) -> Tensor:
            canvas = Untrained(len(rows), shape, self.width, own_generator, rows.device)
            return descend(canvas, match, rows, own_generator, weight=self.weight, steps=steps, lr=self.lr).images

        return Inverter(
            run=draw,
            chunk=_CHUNK,
            seed=int(torch.randint(2**62, (), generator=generator)),
            gradient_steps=steps,
            flags=frozenset({"ZERO_GRADIENT"}) if flat else frozenset(),
        )

    def doubled(self) -> DeepPrior:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)
