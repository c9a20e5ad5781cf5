"""Whether releases can be matched to images, or to each other."""

from __future__ import annotations

from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.linkage.study import all_matchers, conduct_linkage


@PROTOCOLS.register("linkage")
def linkage() -> Protocol:
    """Find the image of a release in a gallery, and other releases of the same image (L3 and L4).

    Matchers learned from the attacker's own pairs, which undo secret permutations and rotations by known plaintext, and
    replay: publishing the gallery through the defense. Every release takes its best match, or all are assigned
    together. Releases are matched with each other where they differ: for random defenses, and for keyed ones under
    another key.
    """
    return Protocol(
        name="linkage", threat="L4", candidates=lambda _models, _twin: all_matchers(), conduct=conduct_linkage
    )
