"""What knowing a defense's mask is worth."""

from __future__ import annotations

from protocols.evaluation.protocol import PROTOCOLS, Protocol
from protocols.mask_aware.study import aware, conduct_masks


@PROTOCOLS.register("mask-aware")
def mask_aware() -> Protocol:
    """Attackers who know the mask of the latent (L4), for every defense that has one.

    The masked latent is read off the release, learned and by steps through the decoder, and probed; unintended models
    are retrained on the attacker's own images pushed through the defense with the same mask and fresh noise on the
    latent; the same probes read the unmasked latent, the masked one and latents under random masks of equal size,
    which shows what the mask itself hides; the mask is inferred from releases alone; and masks that depend on the image
    are probed by themselves. `mask.gain` compares the best of those who know the mask with the best of those who do
    not, on the same labelled releases.
    """
    return Protocol(
        name="mask-aware", threat="L4", candidates=lambda models, twin: aware(models, twin, {}), conduct=conduct_masks
    )
