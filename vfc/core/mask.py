"""The mask over VFC's latent: which dimensions serve the task, and are kept.

The source says: a dynamic binary mask from per-dimension KL and gradient saliency with respect to the frozen target
(Guo et al., 2026, arXiv 2604.06644). How both are combined and cut is our choice, so everything here is an option.

Axes: n images, d latent dimensions. z is the latent, q(z|x) = N(mu, sigma^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

MASKS = ("none", "kl", "saliency", "both", "random")
SALIENCIES = ("grad", "grad-times-latent")
COMBINATIONS = ("sum", "product", "rank-sum", "and", "or")
SELECTIONS = ("top-k", "threshold", "percentile")
SCOPES = ("global", "sample")
SALIENCY_POINTS = ("masked", "unmasked")


def normalize(score: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Non-negative scores as shares of the largest one of their row, in [0, 1]; a row of zeros stays zero."""
    largest = score.amax(-1, keepdim=True)
    return score / torch.where(largest > 0, largest, torch.ones_like(largest))


def rank_shares(score: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
    """Ranks within a row as shares: 1/d for the smallest, 1 for the largest; equal scores by position."""
    ranks = score.argsort(dim=-1, stable=True).argsort(dim=-1, stable=True)
    return (ranks + 1).to(score.dtype) / score.shape[-1]


def combine(kl: Float[Tensor, "... d"], saliency: Float[Tensor, "... d"], combination: str) -> Float[Tensor, "... d"]:
    """One score in [0, 1] per dimension from KL and saliency.

    Args:
        kl: KL of every dimension, nats, at least 0.
        saliency: saliency of every dimension, at least 0.
        combination: `sum` or `product` of the normalized two; `rank-sum`; `and` (the smaller of the normalized two, so
            a threshold asks for both) or `or` (the larger). Sums are halved, to end at 1.
    """
    if combination == "rank-sum":
        return (rank_shares(kl) + rank_shares(saliency)) / 2
    kl, saliency = normalize(kl), normalize(saliency)
    match combination:
        case "sum":
            return (kl + saliency) / 2
        case "product":
            return kl * saliency
        case "and":
            return torch.minimum(kl, saliency)
        case _:
            return torch.maximum(kl, saliency)


def select(score: Float[Tensor, "... d"], selection: str, count: int, cutoff: float) -> Bool[Tensor, "... d"]:
    """Which dimensions of every row are kept; never none.

    Args:
        score: scores in [0, 1].
        selection: `top-k` keeps exactly `count` (of equal scores, the first); `threshold` the scores of at least
            `cutoff`; `percentile` those at or above the `cutoff` quantile of their row.
        count: how many `top-k` keeps.
        cutoff: in [0, 1].
    """
    best = score.argsort(dim=-1, descending=True, stable=True)
    if selection == "top-k":
        return torch.zeros_like(score, dtype=torch.bool).scatter(-1, best[..., :count], True)
    line = torch.quantile(score, cutoff, dim=-1, keepdim=True) if selection == "percentile" else cutoff
    kept = score >= line
    # A release that depends on no dimension would be a constant.
    return kept.scatter(-1, best[..., :1], True)


@dataclass(frozen=True, kw_only=True)
class MaskRule:
    """How a mask is made; the fields are options of `VFC` and are explained there."""

    mask: str = "both"
    saliency: str = "grad"
    combination: str = "sum"
    selection: str = "top-k"
    keep: float | int = 0.5
    cutoff: float = 0.5
    scope: str = "global"
    saliency_at: str = "masked"
    revive: float = 0.0

    def count(self, latent: int) -> int:
        """How many of `latent` dimensions top-k keeps: `keep` itself, or that share, at least one."""
        wanted = self.keep if isinstance(self.keep, int) else round(self.keep * latent)
        return min(latent, max(1, wanted))

    def choose(
        self,
        kl: Float[Tensor, "... d"],
        saliency: Float[Tensor, "... d"],
        generator: torch.Generator,
        *,
        dropped: Bool[Tensor, " d"] | None = None,
    ) -> Bool[Tensor, "... d"]:
        """The mask of every row of KL and saliency; `random` uses the generator, `revive` what was dropped."""
        count = self.count(kl.shape[-1])
        match self.mask:
            case "none":
                return torch.ones_like(kl, dtype=torch.bool)
            case "random":
                score = torch.rand(kl.shape, generator=generator, device=generator.device).to(kl.device)
                return select(score, "top-k", count, self.cutoff)
            case "kl":
                score = normalize(kl)
            case "saliency":
                score = normalize(saliency)
            case _:
                score = combine(kl, saliency, self.combination)
        if dropped is not None and self.revive and bool(dropped.any()) and not bool(dropped.all()):
            score = score + self.revive * score[..., ~dropped].mean(-1, keepdim=True) * dropped
        return select(score, self.selection, count, self.cutoff)


class LatentMask(nn.Module):
    """The mask that is in use: everything is kept until the first `update`.

    A per-sample mask must not need gradients at deployment, where the label is unknown too. So it takes the image's
    own KL and own latent, but the average gradient of the training images: |mu_d(x)| * mean |dCE/dz_d|.
    A random mask of scope `global` is drawn once; one of scope `sample` is drawn anew for every image.

    Args:
        latent: number d of latent dimensions.
        rule: how masks are made.
    """

    kept: Tensor
    gradient: Tensor
    active: Tensor

    def __init__(self, latent: int, rule: MaskRule) -> None:
        super().__init__()
        self.rule = rule
        self.register_buffer("kept", torch.ones(latent, dtype=torch.bool))
        self.register_buffer("gradient", torch.zeros(latent))
        self.register_buffer("active", torch.zeros((), dtype=torch.bool))

    def update(
        self,
        mu: Float[Tensor, "n d"],
        kl: Float[Tensor, "n d"],
        gradient: Float[Tensor, "n d"],
        generator: torch.Generator,
    ) -> None:
        """Recompute the mask from the training images' mean latents, KL and dCE/dz."""
        if self.rule.mask == "none" or (self.rule.mask == "random" and bool(self.active)):
            return
        self.gradient.copy_(gradient.abs().mean(0))
        weight = mu.abs() if self.rule.saliency == "grad-times-latent" else torch.ones_like(mu)
        saliency = (weight * gradient.abs()).mean(0)
        self.kept.copy_(self.rule.choose(kl.mean(0), saliency, generator, dropped=~self.kept))
        self.active.fill_(True)

    def forward(
        self, mu: Float[Tensor, "n d"], kl: Float[Tensor, "n d"], generator: torch.Generator
    ) -> Bool[Tensor, "m d"]:
        """The mask for some images: one row for all (m = 1), or one for each (m = n) of scope `sample`."""
        if self.rule.scope == "global" or not bool(self.active):
            return self.kept[None]
        weight = mu.detach().abs() if self.rule.saliency == "grad-times-latent" else torch.ones_like(mu)
        return self.rule.choose(kl.detach(), weight * self.gradient, generator)
