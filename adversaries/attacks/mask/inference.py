"""Which latent units a mask keeps, from releases alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from adversaries.attacks.mask.opened_latent import Inverse, fit_inverse

GROUPS = 10
"""Releases with one common mask fall into so many groups, each of which infers the mask anew."""

_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class MaskInference:
    """Infers the mask of some releases: no adversary of labels, so it is no `Adversary`.

    Knows: the decoder, without its mask, and releases; neither images nor the encoder.
    Does: decodes latents of its own, drawn from normal distributions of several sizes under random masks, learns to
    read them back, reads the releases, and goes on by steps through the decoder. The units whose values stay near zero
    are those that were dropped: units are ranked by the size of what was read, and cut at the widest gap.

    Args:
        latents: how many latents it decodes to learn from.
        width: hidden units of the network that reads latents.
        steps: optimizer steps of that network.
        iterations: steps through the decoder for every release.
        times: factor on all steps.
    """

    latents: int = 4096
    width: int = 256
    steps: int = 600
    iterations: int = 30
    times: int = 1

    def fit(
        self,
        decode: Callable[[Tensor], Tensor],
        units: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> Inverse:
        """The map from releases to latents.

        Args:
            decode: latents (n, d) to releases.
            units: number d of latent units.
            generator: draws latents, weights and batches.
            device: where the decoder is.
        """
        size = 2.0 ** torch.randint(-2, 4, (self.latents, 1), generator=generator)
        share = torch.rand(self.latents, 1, generator=generator)
        kept = torch.rand(self.latents, units, generator=generator) < share
        z = torch.randn(self.latents, units, generator=generator) * size * kept
        return fit_inverse(
            z.to(device),
            decode,
            generator,
            width=self.width,
            training=self.steps * self.times,
            steps=self.iterations * self.times,
        )

    def doubled(self) -> MaskInference:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def cut(size: Float[Tensor, " d"]) -> Bool[Tensor, " d"]:
    """Which units are kept: those above the widest gap between the logarithms of their sizes; never none, never all."""
    ranked = size.clamp_min(_LEAST).log().sort()
    gap = ranked.values.diff()
    kept = torch.zeros_like(size, dtype=torch.bool)
    kept[ranked.indices[int(gap.argmax()) + 1 :]] = True
    return kept


def inferred(z: Float[Tensor, "n d"], *, groups: int | None) -> Bool[Tensor, "g d"]:
    """Masks inferred from the latents that were read.

    Args:
        z: what was read off n releases.
        groups: into how many groups of releases with one common mask they fall; None: every release has its own.
    """
    pieces = z.tensor_split(groups if groups is not None else len(z))
    return torch.stack([cut(piece.square().mean(0).sqrt()) for piece in pieces])


def recovery(z: Float[Tensor, "n d"], truth: Bool[Tensor, "n d"], *, per_image: bool) -> dict[str, Tensor]:
    """How well masks are inferred: `jaccard`, and `random`, what random masks of the inferred sizes would score.

    Args:
        z: what was read off n releases.
        truth: the mask of each.
        per_image: whether masks differ between images; otherwise groups of releases infer the common mask.
    """
    groups = None if per_image else min(GROUPS, len(z))
    found = inferred(z, groups=groups)
    truth = truth if groups is None else truth[:groups]
    return {"jaccard": jaccard(found, truth), "random": random_jaccard(found, truth)}


def jaccard(found: Bool[Tensor, "n d"], truth: Bool[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Size of the intersection / size of the union, row by row; 1 where both are empty."""
    both, either = (found & truth).sum(1).double(), (found | truth).sum(1).double()
    return torch.where(either > 0, both / either.clamp_min(1), torch.ones_like(both))


def random_jaccard(found: Bool[Tensor, "n d"], truth: Bool[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """The expected Jaccard index of a random mask of the inferred size, row by row: a hypergeometric mean."""
    return torch.tensor(
        [_expected(int(a), int(b), found.shape[1]) for a, b in zip(found.sum(1), truth.sum(1), strict=True)],
        dtype=torch.float64,
    )


def _expected(drawn: int, true: int, units: int) -> float:
    """Mean of overlap / (drawn + true - overlap) over all masks of `drawn` of `units` units."""
    ways = math.comb(units, drawn)
    total = sum(
        math.comb(true, overlap) * math.comb(units - true, drawn - overlap) * overlap / (drawn + true - overlap)
        for overlap in range(max(0, drawn + true - units), min(drawn, true) + 1)
        if drawn + true > overlap
    )
    return total / ways if drawn + true else 1.0
