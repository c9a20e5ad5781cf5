"""Matching by publishing the gallery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.attacks.inversion.descent import Match
from adversaries.attacks.linkage.matcher import compared
from adversaries.goals.matching import ADVERSARIES, Matcher, Matching
from adversaries.knowledge import Knowledge
from adversaries.threat import Level

_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class ReplayMatching(Matching):
    """Publishes the gallery and looks for the nearest release.

    Args:
        match: the defense and the scale of what it publishes.
        seed: of the defense's randomness.
    """

    match: Match
    seed: int

    @torch.no_grad()
    def scores(self, release: Shaped[Tensor, "n ..."], gallery: Float[Tensor, "g c h w"]) -> Float[Tensor, "n g"]:
        """Negative distances to the mean release of every gallery image."""
        generator = torch.Generator().manual_seed(self.seed)
        pieces: list[Tensor] = []
        for images in torch.split(gallery, _CHUNK):
            drawn = [self.match.scaled(self.match.defense.publish(images, generator).values) for _ in range(self.draws)]
            pieces.append(torch.stack(drawn).mean(0))
        return compared(self.match.scaled(release), torch.cat(pieces), "nearest")

    @property
    def draws(self) -> int:
        """How many releases of every gallery image are averaged."""
        return self.match.draws


@ADVERSARIES.register("replay", goals=("match:image",), order=20)
@dataclass(frozen=True, kw_only=True)
class Replay(Matcher):
    """Publishes every image of the gallery through the defense and compares releases.

    Knows: the fitted defense with its weights, mask, key and noise law.
    Does: averages some releases of every gallery image and takes the nearest. A deterministic defense that gives two
    images different releases is always found out.

    Args:
        draws: releases of every gallery image that are averaged; more than 1 for random defenses.
    """

    level: ClassVar[Level] = "L4"
    learns_pairs: ClassVar[bool] = False
    needs_images: ClassVar[bool] = True

    draws: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> ReplayMatching:
        """Learn the scale of every value; raises `NotApplicableError` where the defense does not publish."""
        release, images = view.pairs
        match = Match.of(view.defense, release, self.draws, images, gradients=False)
        return ReplayMatching(match=match, seed=int(torch.randint(2**62, (), generator=generator)))
