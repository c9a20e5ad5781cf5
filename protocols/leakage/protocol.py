"""What a release lets through, without any attack."""

from __future__ import annotations

from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.leakage.study import conduct_leakage


@PROTOCOLS.register("leakage")
def leakage() -> Protocol:
    """Attack-free numbers of the release: degrees of freedom, Jacobian, Fisher bound, rate and dimension (L4).

    They need the defense itself and no attacker. A bound holds for reconstruction only, never for labels; what cannot
    be measured says why.
    """
    return Protocol(name="leakage", threat="L4", conduct=conduct_leakage)
