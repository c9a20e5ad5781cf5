"""The likelihood ratio attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight, Truth


@ADVERSARIES.register(
    "lira",
    goals=("membership",),
    variants=({"signal": "confidence"}, {"signal": "kl"}, {"signal": "change"}, {"signal": "norm"}),
    order=20,
)
@dataclass(frozen=True, kw_only=True)
class Lira(MembershipAdversary):
    """Compares a signal with what it is for the same image under defenses that were, and were not, fitted on it.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: Gaussians with a mean per image and one variance for all, from the attacker's own images; offline from
    defenses without the image alone, online, where the shadows hold some of the images in question, from both kinds.

    Args:
        signal: `confidence` (logit of the label's probability), `kl` (of the latent), `change` (from image to release)
            or `norm` (of the release).

    Source: Carlini et al., Membership inference attacks from first principles, 2022, arXiv 2112.03570.
    """

    signal: Literal["confidence", "kl", "change", "norm"] = "confidence"

    def score(self, sight: Sight) -> Numbers:
        """Online the log likelihood ratio, offline the deviation from the shadows without the image."""
        position = sight.signal(self.signal)
        seen, known = sight.readings.signals[:, position], sight.shadows[:, :, position]
        taught = sight.taught(position)
        out = _Gaussian.of(known, ~sight.inside, _Usual.of(taught, ~sight.answers))
        if not sight.online:
            return sight.direction(position) * out.deviation(seen)
        within = _Gaussian.of(known, sight.inside, _Usual.of(taught, sight.answers))
        return within.likelihood(seen) - out.likelihood(seen)


@dataclass(frozen=True)
class _Usual:
    """What all images of the attacker's own share: the mean, the variance of one image's, and that of their means."""

    mean: float
    variance: float
    between: float

    @classmethod
    def of(cls, values: Numbers, chosen: Truth) -> _Usual:
        """From the chosen shadows of every image; all of them where an image has no two."""
        count = chosen.sum(axis=0)
        total = np.where(chosen, values, 0.0).sum(axis=0)
        mean = total / np.maximum(count, 1)
        squares = np.where(chosen, values - mean, 0.0) ** 2
        freedom = int((count - (count > 0)).sum())
        return cls(
            mean=float(total.sum()) / max(1, int(count.sum())),
            variance=float(squares.sum()) / freedom if freedom > 0 else float(np.var(values)),
            between=float(np.var(mean[count > 0])) if bool((count > 0).any()) else 0.0,
        )


@dataclass(frozen=True)
class _Gaussian:
    """Means per row, and a deviation that counts how well each mean is known."""

    mean: Numbers
    spread: Numbers

    @classmethod
    def of(cls, values: Numbers, chosen: Truth, usual: _Usual) -> _Gaussian:
        """From the chosen shadows of every row; a row without any takes the usual mean."""
        count = chosen.sum(axis=0)
        total = np.where(chosen, values, 0.0).sum(axis=0)
        mean = np.where(count > 0, total / np.maximum(count, 1), usual.mean)
        # A mean of few defenses is itself uncertain; a mean of none is as uncertain as images differ.
        several = usual.variance * (1 + 1 / np.maximum(count, 1))
        return cls(mean, np.sqrt(np.where(count > 0, several, usual.variance + usual.between) + 1e-12))

    def deviation(self, seen: Numbers) -> Numbers:
        return (seen - self.mean) / self.spread

    def likelihood(self, seen: Numbers) -> Numbers:
        return -0.5 * self.deviation(seen) ** 2 - np.log(self.spread)
