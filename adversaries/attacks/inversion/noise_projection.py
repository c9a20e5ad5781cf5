"""Noise that keeps to a subspace, seen from pairs and projected out.

Axes: n pairs, d values of one image, q directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, KernelName, flat, wide
from adversaries.learning.ridge_map import RidgeMap
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_SHARES = (0.5, 0.9, 0.99, 0.999, 1 - 1e-6)
"""Shares of the perturbation's energy whose directions are tried."""

_LINEAR: tuple[tuple[KernelName, float], ...] = (("linear", 1.0),)
_MOST_PAIRS = 4096


@dataclass(frozen=True, kw_only=True)
class Projected(Reconstruction):
    """Projects a subspace out of a release, then decodes linearly.

    Args:
        noise: orthonormal rows that span the perturbation.
        mean: mean perturbation.
        decoder: from what remains to images.
        shape: (c, h, w) of one image.
    """

    noise: Float[Tensor, "q d"]
    mean: Float[Tensor, " d"]
    decoder: RidgeMap
    shape: tuple[int, ...]

    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (pixels are asked for, and the release has them)
    ) -> Float[Tensor, "n c h w"]:
        """Decoded remainders; each row stands alone."""
        return self.decoder(_without(flat(release) - self.mean, self.noise)).reshape(-1, *self.shape)


@ADVERSARIES.register("noise-projection", goals=("reconstruction",), order=17)
@dataclass(frozen=True, kw_only=True)
class NoiseProjection(Reconstructor):
    """Estimates the subspace of what a defense adds to images, projects it out, and decodes the rest.

    Knows: pairs (image, release) of its own.
    Does: principal components of release minus image; linear ridge regression (penalty by leave-one-out) from its own
    images without those components to the images, which it then reads releases with. How many components, by the
    squared error on the half of the pairs that they were not estimated from; none, with a regression from releases,
    competes too. Noise in one subspace (the null space of some layer) is gone after about as many pairs as the
    subspace has dimensions, and every image of its own teaches the rest, paired or not.
    Source: our break of noise in null spaces (arXiv 2510.10982); perturbations are estimated from pairs as a rule.
    """

    level: ClassVar[Level] = "L3"

    def fit(self, view: Knowledge, generator: torch.Generator) -> Projected:  # noqa: ARG002
        """Decompose and solve; closed form, no randomness.

        Raises:
            NotApplicableError: a release is not shaped like an image, or there are fewer than four pairs.
        """
        release, images = view.pairs
        if not view.image_shaped:
            raise NotApplicableError("the release is not shaped like an image, so nothing was added to one")
        if len(release) < 4:
            raise NotApplicableError("fewer than four pairs show no subspace")
        x, rows = flat(images), flat(release)
        first = torch.arange(len(x), device=x.device) % 2 == 0
        mean, components, shares = _components((rows - x)[first][:_MOST_PAIRS])
        errors = {0: _error(_decoder(rows[first] - mean, x[first]), rows[~first] - mean, x[~first])}
        for count in {int((shares < share).sum()) + 1 for share in _SHARES}:
            noise = components[:count]
            decoder = _decoder(_without(x[first], noise), x[first])
            errors[count] = _error(decoder, _without(rows[~first] - mean, noise), x[~first])
        best = min(errors, key=lambda count: errors[count])
        kept = float(shares[best - 1]) if best else 0.0
        mean, components, shares = _components((rows - x)[:_MOST_PAIRS])
        noise = components[: int((shares < kept - 1e-6).sum()) + 1 if best else 0]
        own = flat(view.images[0])
        decoder = _decoder(_without(own, noise), own) if best else _decoder(rows - mean, x)
        return Projected(noise=noise, mean=mean, decoder=decoder, shape=tuple(images.shape[1:]))


def _components(added: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, principal components, and the share of energy up to and with each."""
    exact = added.to(wide(added.device))
    mean = exact.mean(0)
    _, sizes, directions = torch.linalg.svd(exact - mean, full_matrices=False)
    shares = sizes.square().cumsum(0) / sizes.square().sum().clamp_min(1e-30)
    return mean.float(), directions.float(), shares


def _without(rows: Float[Tensor, "n d"], noise: Float[Tensor, "q d"]) -> Float[Tensor, "n d"]:
    """What is left of rows when a subspace is projected out."""
    return rows - (rows @ noise.T) @ noise


def _decoder(rest: Float[Tensor, "n d"], x: Float[Tensor, "n d"]) -> RidgeMap:
    columns = Columns.fit(rest)
    return RidgeMap.fit(columns, columns(rest), x, _LINEAR)


def _error(decoder: RidgeMap, rest: Float[Tensor, "n d"], x: Float[Tensor, "n d"]) -> float:
    return float((decoder(rest) - x).square().mean())
