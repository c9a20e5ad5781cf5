"""Additive Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.core.noise import NoiseLaw
from vfc.defense import DEFENSES, Defense
from vfc.defenses.support import require_range
from vfc.release import Release


@DEFENSES.register("gaussian-noise", sweep={"sigma": (0.1, 0.25, 0.5)})
@dataclass(frozen=True, kw_only=True)
class GaussianNoise(Defense):
    """Publishes the image with independent Gaussian noise on every value; not clipped, so unbounded.

    Threat model: whoever sees one release of each image; `leakage` has the bounds on reconstruction that hold for it.
    Known breaks: averaging repeated releases of one image removes the noise; probes that are trained on releases read
    what the target reads, and more. Cost: one random number per value.

    Args:
        sigma: standard deviation of the noise, in units of the image's range [0, 1].

    Source: folklore; bounds for it in Maeng et al., Bounding the invertibility of privacy-preserving instance encoding
    using Fisher information, NeurIPS 2023.
    """

    stochastic: ClassVar[bool] = True
    sigma: float = 0.25

    def __post_init__(self) -> None:
        require_range("sigma", self.sigma, 0)

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Noisy images."""
        noise = torch.randn(x.shape, generator=generator, device=generator.device, dtype=x.dtype)
        return Release(values=x + self.sigma * noise.to(x.device))

    def noise_law(self) -> NoiseLaw | None:
        """The image itself with variance sigma^2; None without noise."""
        if self.sigma == 0:
            return None
        log_variance = 2 * math.log(self.sigma)

        def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
            return x.flatten(1), torch.full_like(x.flatten(1), log_variance)

        return NoiseLaw(where="release", statistics=statistics)
