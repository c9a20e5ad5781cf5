"""A permutation of bits from known plaintext."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import flat, spread
from adversaries.learning.words import BitStatistics, carried, known_order, restored, words_in, words_like, words_of
from adversaries.threat import Level

_KNOWN, _TRIED = 100_000, 32


@dataclass(frozen=True, kw_only=True)
class RestoredNumbers(Reconstruction):
    """Takes a permutation of bits back.

    Args:
        order: of all releases; None where each has its own.
        statistics: by which each release's own is found.
        mean: mean image, from which numbers that were not restored to the range of images are taken.
        low, high: that range.
        found: whether any of it worked on the attacker's own pairs; if not, the mean image is all there is.
        shape: (c, h, w) of one image.
    """

    order: Int[Tensor, "1 32"] | None
    statistics: BitStatistics
    mean: Float[Tensor, " d"]
    low: float
    high: float
    found: bool
    shape: tuple[int, ...]

    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (the numbers are all there)
    ) -> Float[Tensor, "n c h w"]:
        """The numbers behind the words; each row stands alone."""
        if not self.found:
            return self.mean.expand(len(release), -1).reshape(-1, *self.shape)
        words = carried(words_like(release), len(self.mean))
        orders = self.statistics.match(words[:, None]) if self.order is None else self.order
        numbers = restored(words, orders)
        outside = (numbers < self.low) | (numbers > self.high)
        return torch.where(outside, self.mean.to(numbers), numbers).reshape(-1, *self.shape)


@ADVERSARIES.register("known-bits", goals=("reconstruction",), order=15)
@dataclass(frozen=True, kw_only=True)
class KnownBits(Reconstructor):
    """Finds the permutation of the bits from known numbers, and takes it back.

    Knows: pairs (image, release) of its own.
    Does: matches the 32 columns of bits of the words with those of the images that they stand for, by the fewest
    differences (linear assignment); a few dozen numbers settle it. Where that does not explain its own pairs, it looks
    for a permutation of each release's own by what the bits of images look like. Which of the two, or neither, is
    decided by the squared error on its own pairs.
    Source: our break of the releases of Ni, Huttunen, Rahtu, 2021, arXiv 2108.07147.
    """

    level: ClassVar[Level] = "L3"

    def fit(self, view: Knowledge, generator: torch.Generator) -> RestoredNumbers:  # noqa: ARG002
        """Match; closed form, no randomness.

        Raises:
            NotApplicableError: a release holds no words, or not as many as an image has values.
        """
        release, images = view.pairs
        hidden = words_in(release)
        plain = flat(images)
        hidden, known = carried(hidden, plain.shape[1]), words_of(plain)
        some = spread(hidden.numel(), _KNOWN).to(hidden.device)
        common = RestoredNumbers(
            order=known_order(hidden.flatten()[some], known.flatten()[some])[None],
            statistics=BitStatistics.of(known),
            mean=plain.mean(0),
            low=float(plain.min()),
            high=float(plain.max()),
            found=True,
            shape=tuple(images.shape[1:]),
        )
        return min(_variants(common), key=lambda each: _error(each, release[:_TRIED], images[:_TRIED]))


def _variants(common: RestoredNumbers) -> list[RestoredNumbers]:
    """One permutation for all, one for each release, and giving up; the later ones only where they are better."""
    facts = vars(common)
    return [common, RestoredNumbers(**{**facts, "order": None}), RestoredNumbers(**{**facts, "found": False})]


def _error(each: RestoredNumbers, release: Tensor, images: Tensor) -> float:
    return float((each.rebuild(release, None).to(images) - images).square().mean())
