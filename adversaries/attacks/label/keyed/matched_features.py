"""Finding a permutation of the bits of features by what features of other networks look like.

Axes: n releases, d words of one release, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.label.keyed.matched_bits import Key
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, Ridge, fit_best, spread
from adversaries.learning.networks import head_inputs
from adversaries.learning.ridge_map import default_kernels
from adversaries.learning.words import BITS, BitStatistics, nonce_length, restored, words_in, words_like, words_of
from adversaries.threat import Level

_POWERS = range(-4, 5)
"""Scales that are tried, as powers of two."""

_TRIED = 64
"""On so many releases, at most, where each has a permutation of its own."""


@dataclass(frozen=True, kw_only=True)
class Unpermuted:
    """Takes words to the numbers behind them.

    Args:
        statistics: of the bits of numbers, wherever they stand; None where one permutation was found for all releases.
        order: that permutation.
        nonce: how many words in front of every release are left out.
        low, high: the range to which restored numbers are cut.
    """

    statistics: BitStatistics | None
    order: Int[Tensor, "1 32"]
    nonce: int
    low: float
    high: float

    @classmethod
    def of(cls, hidden: Int[Tensor, "n d"], own: Float[Tensor, "m f"], key: Key) -> Unpermuted:
        """Match what was seen with numbers of one's own, neither paired, nor in the same places, nor of one scale.

        Of all scales the one is taken under which what was seen is most likely.

        Args:
            hidden: words of releases.
            own: numbers like those behind them.
            key: how much is permuted alike.
        """
        nonce, alike = nonce_length(hidden), key == "dataset"
        hidden = hidden[:, nonce:]
        groups = hidden.reshape(1, -1, 1) if alike else hidden[spread(len(hidden), _TRIED).to(hidden.device), :, None]
        scaled = [own * 2.0**power for power in _POWERS]
        found = [BitStatistics.of(words_of(each).reshape(-1, 1)) for each in scaled]
        at = max(range(len(found)), key=lambda at: found[at].likelihood(groups))
        return cls(
            statistics=None if alike else found[at],
            order=found[at].match(groups) if alike else torch.arange(BITS)[None],
            nonce=nonce,
            low=float(scaled[at].min()),
            high=float(scaled[at].max()),
        )

    def __call__(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """The numbers; each row stands alone."""
        words = words_like(release)[:, self.nonce :]
        orders = self.order if self.statistics is None else self.statistics.match(words[:, :, None])
        return restored(words, orders).clamp(self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class FeatureReading(Attack):
    """Restores numbers, then reads them.

    Args:
        numbers: words to numbers.
        columns: scale of every number.
        ridge: from numbers to classes.
        scale: regression on one-hot labels.
    """

    numbers: Unpermuted
    columns: Columns
    ridge: Ridge
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Scores of every class; each row stands alone."""
        return self.ridge.scores(self.columns(self.numbers(release)))


@ADVERSARIES.register(
    "matched-features", goals=("task", "attribute"), variants=({"key": "dataset"}, {"key": "release"}), order=330
)
@dataclass(frozen=True, kw_only=True)
class MatchedFeatures(Adversary):
    """Finds the permutation of the bits by what the features of a clean model of its own look like, and reads them.

    Knows: unlabelled releases, labelled ones, and a clean model trained on images of its own: another network than the
    target, whose features stand in other places and at another scale.
    Does: matches the 32 columns of bits with those of its own features by how often each is set and which are set
    together (linear assignment, then swaps while that becomes more likely), wherever in the vector they stand and at
    the scale, a power of two, under which the releases are most likely; restores the numbers, and reads them by kernel
    ridge regression fitted on the labelled releases. It assumes one permutation for all releases, or one for each
    release; words in front that look random (a nonce) are left out.
    Source: our break of the releases of Ni, Huttunen, Rahtu, 2021, arXiv 2108.07147, whose attacker knows feature
    vectors.

    Args:
        model: name of the clean model.
        key: how much is permuted alike: the whole `dataset`, or one `release`.
    """

    level: ClassVar[Level] = "L2"
    per_model: ClassVar[bool] = True

    model: str
    key: Key = "dataset"

    def fit(self, view: Knowledge, generator: torch.Generator) -> FeatureReading:  # noqa: ARG002
        """Match and solve; closed form, no randomness.

        Raises:
            NotApplicableError: a release holds no words, or images are unknown.
        """
        release, y = view.labelled
        hidden = words_in(view.unlabelled)
        numbers = Unpermuted.of(hidden, head_inputs(view.model(self.model), view.images[0]), self.key)
        found = numbers(release)
        columns = Columns.fit(found)
        x = columns(found)
        return FeatureReading(
            numbers=numbers, columns=columns, ridge=fit_best(x, y, view.num_classes, default_kernels(x))
        )
