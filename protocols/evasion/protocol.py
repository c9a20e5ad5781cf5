"""What is left of the target when its input is perturbed on purpose."""

from __future__ import annotations

from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.evasion.findings import conduct_evasion
from protocols.evasion.plan import variants


@PROTOCOLS.register("evasion")
def evasion() -> Protocol:
    """Small changes to the image that make the deployed pipeline err: x -> release -> target.

    Attacks of torchattacks and foolbox within l-inf and l2 balls: on the gradient (PGD, APGD, Carlini-Wagner,
    DeepFool), on scores (Square) and on decisions (boundary, HopSkipJump), with the expectation over the defense's
    randomness. Every image is measured and scored again outside the libraries; what counts is the worst attack per
    target. `evasion.accuracy@8/255` is l-inf (fractions of 255), `evasion.accuracy@0.5` is l2 (decimals).
    """
    return Protocol(
        name="evasion",
        threat="L4",
        conduct=conduct_evasion,
        candidates=lambda _models, _twin: variants(),
        extra="evasion",
        needs=("torchattacks", "foolbox"),
    )
