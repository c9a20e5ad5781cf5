"""Whether releases can be matched to images, or to each other."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.evaluation.protocol import PROTOCOLS, Candidate, Protocol
from protocols.linkage.candidates import all_matchers
from protocols.linkage.study import conduct_linkage


@PROTOCOLS.register("linkage")
def linkage() -> Protocol:
    """Find the image of a release in a gallery, and other releases of the same image (L3 and L4).

    Matchers learned from the attacker's own pairs, which undo secret permutations and rotations by known plaintext, and
    replay: publishing the gallery through the defense. Every release takes its best match, or all are assigned
    together. Releases are matched with each other where they differ: for random defenses, and for keyed ones under
    another key.
    """
    return Protocol(name="linkage", threat="L4", candidates=_candidates, conduct=conduct_linkage)


def _candidates(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:  # noqa: ARG001  (a protocol's shape)
    return all_matchers()
