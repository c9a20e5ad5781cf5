"""How much of the image comes back from the release."""

from __future__ import annotations

from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.inversion.study import conduct_inversion, rebuilders


@PROTOCOLS.register("inversion")
def inversion() -> Protocol:
    """Rebuild the images from their releases (L3 and L4).

    Decoders learned from the attacker's own pairs, in closed form and trained, on several numbers of pairs; gradients
    through the defense with priors on images and restarts; untrained networks as priors; averages of repeated releases.
    Measured by PSNR, SSIM, identification of the original in a gallery, and by what a clean model reads off the
    reconstruction, each beside the image itself, another image, the mean image and the mean image of the predicted
    class. The strongest is chosen on the attacker's validation part and graded once on the targets.
    """
    return Protocol(
        name="inversion", threat="L4", candidates=lambda _models, _twin: rebuilders(), conduct=conduct_inversion
    )
