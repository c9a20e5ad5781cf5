"""One threshold on how sure the deployed pipeline is."""

from __future__ import annotations

from dataclasses import dataclass

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight


@ADVERSARIES.register("loss-threshold", goals=("membership",), order=10)
@dataclass(frozen=True, kw_only=True)
class LossThreshold(MembershipAdversary):
    """Calls an image a member when the target's loss on its release is low.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: one threshold on the logit of the label's probability, fixed on the shadows.

    Source: Yeom et al., Privacy risk in machine learning: analyzing the connection to overfitting, 2018, arXiv
    1709.01604.
    """

    def score(self, sight: Sight) -> Numbers:
        """The label's confidence."""
        return sight.readings.signals[:, sight.signal("confidence")]
