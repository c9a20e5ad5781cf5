"""Finding a permutation of bits without any known plaintext, and reading what it hid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, Ridge, fit_best, flat
from adversaries.learning.ridge_map import default_kernels
from adversaries.learning.words import BitStatistics, carried, restored, words_in, words_like, words_of
from adversaries.threat import Level
from vfc.errors import NotApplicableError

Key = Literal["dataset", "release"]


@dataclass(frozen=True, kw_only=True)
class MatchedReading(Attack):
    """Restores numbers, then reads them as it reads images.

    Args:
        statistics: of the bits of images; None where one permutation was found for all releases.
        order: that permutation.
        low, high: the range of images, to which restored numbers are cut.
        columns: scale of every value of an image.
        ridge: from images to classes.
        scale: regression on one-hot labels.
    """

    statistics: BitStatistics | None
    order: Int[Tensor, "1 32"]
    low: float
    high: float
    columns: Columns
    ridge: Ridge
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Scores of every class; each row stands alone."""
        words = carried(words_like(release), len(self.columns.mean))
        orders = self.order if self.statistics is None else self.statistics.match(words[:, None])
        return self.ridge.scores(self.columns(restored(words, orders).clamp(self.low, self.high)))


@ADVERSARIES.register(
    "matched-bits", goals=("task", "attribute"), variants=({"key": "dataset"}, {"key": "release"}), order=190
)
@dataclass(frozen=True, kw_only=True)
class MatchedBits(Adversary):
    """Finds the permutation of the bits by what the bits of images look like, and reads the images.

    Knows: unlabelled releases, and clean labelled images of its own, none of them paired.
    Does: matches the 32 columns of bits with those of its own images by how often each is set at every position and
    which are set together (linear assignment, then swaps while that becomes more likely), restores the numbers, and
    reads them by kernel ridge regression fitted on its own images. It assumes one permutation for all releases, or one
    for each release; what stands in front of an image's words (a nonce) is left out.
    Source: our break of the releases of Ni, Huttunen, Rahtu, 2021, arXiv 2108.07147.

    Args:
        key: how much is permuted alike: the whole `dataset`, or one `release`.
    """

    level: ClassVar[Level] = "L1"
    trains_on_labels: ClassVar[bool] = False

    key: Key = "dataset"

    def fit(self, view: Knowledge, generator: torch.Generator) -> MatchedReading:  # noqa: ARG002
        """Match and solve; closed form, no randomness.

        Raises:
            NotApplicableError: a release holds no words, or not as many as an image has values; or images are unknown.
        """
        words = words_in(view.unlabelled)
        if view.image_shape is None:
            raise NotApplicableError("the originals are unknown, so there are no images of its own")
        images, y = view.images
        plain = flat(images)
        words = carried(words, plain.shape[1])
        statistics = BitStatistics.of(words_of(plain))
        columns = Columns.fit(plain)
        x = columns(plain)
        return MatchedReading(
            statistics=statistics if self.key == "release" else None,
            order=statistics.match(words[None]) if self.key == "dataset" else torch.arange(32)[None],
            low=float(plain.min()),
            high=float(plain.max()),
            columns=columns,
            ridge=fit_best(x, y, view.num_classes, default_kernels(x)),
        )
