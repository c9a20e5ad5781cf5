"""Noise that knows nothing of the image: a known null."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.core.noise import NoiseLaw
from vfc.defense import DEFENSES, Defense
from vfc.release import Release


@DEFENSES.register("pure-noise")
@dataclass(frozen=True, kw_only=True)
class PureNoise(Defense):
    """Known null: uniform noise in [0, 1], drawn independently of the image. No adversary may find anything in it.

    Threat model: none is claimed; a control. Known breaks: none, as it tells nothing, to the target neither.
    Cost: all of the target's accuracy.

    Source: none; a control.
    """

    stochastic: ClassVar[bool] = True

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Noise of the images' shape."""
        noise = torch.rand(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        return Release(values=noise.to(x.device), bounds=(0.0, 1.0))

    def noise_law(self) -> NoiseLaw:
        """Nothing of the image; the distribution of such noise does not matter, so it counts as Gaussian."""

        def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
            return 0 * x.flatten(1), torch.zeros_like(x.flatten(1))

        return NoiseLaw(where="release", statistics=statistics)
