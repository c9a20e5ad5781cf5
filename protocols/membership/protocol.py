"""Whether a release tells on which images the defense was fitted."""

from __future__ import annotations

from protocols.evaluation.candidate import collect
from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.membership.study import conduct_membership


@PROTOCOLS.register("membership")
def membership() -> Protocol:
    """Whether an attacker can tell which images the defense was fitted on.

    Members are images that the defense was fitted on, non-members targets, as many of each. The attacker has the image,
    its label and its release, and shadow defenses of its own: a threshold on the target's loss, likelihood ratios
    (offline; online with `--budget full`), and a classifier of releases. The adversary and its threshold are fixed on
    the shadows and graded once.
    """
    return Protocol(
        name="membership",
        threat="L4",
        conduct=conduct_membership,
        candidates=lambda _models, _twin: collect("membership"),
    )
