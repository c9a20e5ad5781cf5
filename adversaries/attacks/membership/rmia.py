"""The robust membership inference attack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight


@ADVERSARIES.register("rmia", goals=("membership",), order=24)
@dataclass(frozen=True, kw_only=True)
class Rmia(MembershipAdversary):
    """Counts over how many other images an image stands out, beside what shadow defenses make of both.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: divides the probability of the label by its mean under the shadows, and compares that ratio with those of the
    other images in question. Shadows that never saw an image understate that mean; offline it is moved towards 1.

    Args:
        factor: how many times the ratio of the other image counts as standing out.
        offset: how far the mean of shadows without the image is moved, in [0, 1]: 1 leaves it as it is.

    Source: Zarifzadeh, Liu, Shokri, Low-cost high-power membership inference attacks, 2023, arXiv 2312.03262.
    """

    factor: float = 1.0
    offset: float = 0.3

    def score(self, sight: Sight) -> Numbers:
        """Share of the other images whose ratio is smaller by the factor, in [0, 1]."""
        position = sight.signal("confidence")
        own = _log_probability(sight.readings.signals[:, position])
        known = np.exp(_log_probability(sight.shadows[:, :, position]))
        if sight.online:
            mean = known.mean(axis=0)
        else:
            chosen = ~sight.inside
            count = chosen.sum(axis=0)
            total = np.where(chosen, known, 0.0).sum(axis=0)
            out = np.where(count > 0, total / np.maximum(count, 1), known.mean())
            mean = 0.5 * ((1 + self.offset) * out + 1 - self.offset)
        ratio = own - np.log(np.maximum(mean, 1e-300))
        below = np.searchsorted(np.sort(ratio), ratio - np.log(self.factor), side="left")
        return np.asarray(below / max(1, len(ratio) - 1), dtype=np.float64)


def _log_probability(confidence: Numbers) -> Numbers:
    """Logarithm of a probability from its logit."""
    return np.asarray(-np.logaddexp(0.0, -confidence), dtype=np.float64)
