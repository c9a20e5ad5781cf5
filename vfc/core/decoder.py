"""The decoders of VFC: latents to image-shaped releases. No pixel loss asks them to look like the image.

Axes: n images, c channels, h and w pixels, d latent dimensions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.core.encoder import halvings, stage_channels
from vfc.core.residual import residual_blocks

DECODERS = ("transposed", "upsample", "linear")
OUTPUTS = ("unbounded", "sigmoid", "steep-sigmoid", "clamp")
STEEPNESS = 8.0
"""Slope of the steep sigmoid: it pushes released pixels towards 0 and 1."""


def output_bounds(output: str) -> tuple[float, float] | None:
    """The range that an output layer promises; None for the unbounded one."""
    return None if output == "unbounded" else (0.0, 1.0)


class Decoder(nn.Module):
    """Latent to release.

    Args:
        shape: (c, h, w) of one release, which is that of an image.
        latent: number d of latent dimensions.
        kind: `transposed` convolutions, `upsample` (nearest pixel, then convolution), or one `linear` map.
        output: `unbounded`, `sigmoid`, `steep-sigmoid`, or `clamp` (v + 1/2 cut to [0, 1]).
        width: channels of the stage nearest to the release.
        stages: how often the sides are doubled; None = from four pixels or fewer.
        blocks: residual blocks after every doubling.
        steepness: slope of the steep sigmoid.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int,
        kind: str = "transposed",
        output: str = "unbounded",
        width: int = 32,
        *,
        stages: int | None = None,
        blocks: int = 0,
        steepness: float = STEEPNESS,
    ) -> None:
        super().__init__()
        self.shape, self.output, self.steepness = shape, output, steepness
        channels, height, across = shape
        if kind == "linear":
            self.layers = nn.Sequential(nn.Linear(latent, channels * height * across), nn.Unflatten(1, shape))
            return
        stages = halvings(height, across) if stages is None else stages
        # Sides that are no multiple of 2^stages are decoded a little too large and cropped.
        small = (-(-height // 2**stages), -(-across // 2**stages))
        inner = stage_channels(width, stages)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(latent, inner[0] * small[0] * small[1]),
            nn.Unflatten(1, (inner[0], *small)),
            nn.BatchNorm2d(inner[0]),
            nn.ReLU(),
        ]
        for inputs, outputs in list(pairwise([*inner, inner[-1]]))[:stages]:
            layers += [*_double(kind, inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
            layers += residual_blocks(outputs, blocks)
        self.layers = nn.Sequential(*layers, nn.Conv2d(inner[-1], channels, 3, padding=1))

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Decode (masked) latents."""
        values: Tensor = self.layers(z)[:, :, : self.shape[1], : self.shape[2]]
        match self.output:
            case "sigmoid":
                return torch.sigmoid(values)
            case "steep-sigmoid":
                return torch.sigmoid(self.steepness * values)
            case "clamp":
                return (values + 0.5).clamp(0, 1)
            case _:
                return values


def _double(kind: str, inputs: int, outputs: int) -> list[nn.Module]:
    """Layers that double both sides."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
