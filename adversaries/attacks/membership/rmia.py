"""The robust membership inference attack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight


@ADVERSARIES.register("rmia", goals=("membership",), order=24)
@dataclass(frozen=True, kw_only=True)
class Rmia(MembershipAdversary):
    """Compares how probable a label is with how probable shadow defenses make it.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: divides the probability of the label by its mean under the shadows. Shadows that never saw an image understate
    that mean; offline it is moved towards 1. The source then counts over how many images of a population, under the
    attacked defense, this ratio stands out: they are not granted here, and other images in question are no population,
    since some of them are members. The count would order images as the ratio does.

    Args:
        offset: how far the mean of shadows without the image is moved, in [0, 1]: 1 leaves it as it is.

    Source: Zarifzadeh, Liu, Shokri, Low-cost high-power membership inference attacks, 2023, arXiv 2312.03262.
    """

    offset: float = 0.3

    def score(self, sight: Sight) -> Numbers:
        """Logarithm of the ratio; nothing but the image itself and the shadows counts."""
        position = sight.signal("confidence")
        own = _log_probability(sight.readings.signals[:, position])
        known = np.exp(_log_probability(sight.shadows[:, :, position]))
        if sight.online:
            mean = known.mean(axis=0)
        else:
            chosen = ~sight.inside
            count = chosen.sum(axis=0)
            total = np.where(chosen, known, 0.0).sum(axis=0)
            out = np.where(count > 0, total / np.maximum(count, 1), self._usual(sight, position))
            mean = 0.5 * ((1 + self.offset) * out + 1 - self.offset)
        return np.asarray(own - np.log(np.maximum(mean, 1e-300)), dtype=np.float64)

    @staticmethod
    def _usual(sight: Sight, position: int) -> float:
        """What shadows make of images that they never saw."""
        return float(np.exp(_log_probability(sight.taught(position)[~sight.answers])).mean())


def _log_probability(confidence: Numbers) -> Numbers:
    """Logarithm of a probability from its logit."""
    return np.asarray(-np.logaddexp(0.0, -confidence), dtype=np.float64)
