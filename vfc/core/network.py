"""VFC's network: encoder, mask and decoder.

Axes: n images, c channels, h and w pixels, d latent dimensions. z is the latent, q(z|x) = N(mu, sigma^2).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vfc.core.decoder import Decoder
from vfc.core.encoder import Encoder
from vfc.core.mask import LatentMask
from vfc.core.objective import kl_per_dimension, sample_latent
from vfc.core.recipe import Recipe


class Network(nn.Module):
    """Encoder, mask and decoder.

    Args:
        shape: (c, h, w) of one image.
        recipe: how it is built.
    """

    def __init__(self, shape: tuple[int, int, int], recipe: Recipe) -> None:
        super().__init__()
        self.shape = shape
        latent, (wide, decoder_wide) = recipe.latent_for(shape), recipe.widths_for(shape)
        self.encoder = Encoder(
            shape,
            latent,
            wide,
            stages=recipe.stages,
            blocks=recipe.blocks_for(shape),
            limit=recipe.log_variance_limit,
        )
        self.mask = LatentMask(latent, recipe)
        self.decoder = Decoder(
            shape,
            latent,
            recipe.decoder,
            recipe.output,
            decoder_wide,
            stages=recipe.stages,
            blocks=recipe.decoder_blocks,
            steepness=recipe.steepness,
        )

    def latent(
        self, x: Float[Tensor, "n c h w"], generator: torch.Generator, *, sample: bool
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"], Bool[Tensor, "m d"]]:
        """Latent before it is masked, KL per dimension, and the mask (m = 1 or n)."""
        mu, log_variance = self.encoder(x)
        mu, log_variance = mu.float(), log_variance.float()
        kl = kl_per_dimension(mu, log_variance)
        z = sample_latent(mu, log_variance, generator) if sample else mu
        return z, kl, self.mask(mu, kl, generator)

    def forward(
        self, x: Float[Tensor, "n c h w"], generator: torch.Generator, *, sample: bool
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n d"], Bool[Tensor, "m d"]]:
        """Release, KL per dimension, and the mask that was used (m = 1 or n)."""
        z, kl, kept = self.latent(x, generator, sample=sample)
        return self.decoder(z * kept).float(), kl, kept
