"""A small vision transformer, from torchvision's building blocks."""

from __future__ import annotations

from torch import nn

from vfc.errors import UserError
from vfc.models import MODELS
from vfc.zoo.shape import Shape

HEADS = 3


@MODELS.register("vit-tiny")
def vit_tiny(shape: Shape) -> tuple[nn.Module, int]:
    """Vision transformer of DeiT-tiny's size: 12 layers, 192 units, 3 heads (Touvron et al., 2021, arXiv 2012.12877).

    Patches of side / 8 pixels, so that there are 64 of them at 8, 16, 32 and 64 pixels; 7x7 of 4 pixels at 28.
    """
    from torchvision.models.vision_transformer import VisionTransformer

    patches = next((count for count in (8, 7, 6, 5, 4) if shape.side % count == 0), None)
    if patches is None:
        raise UserError(
            f"expected a side that 4, 5, 6, 7 or 8 divides for vit-tiny, got {shape.side} pixels",
            "choose another model",
        )
    hidden, patch = shape.scaled(192, 4 * HEADS), shape.side // patches
    body = VisionTransformer(shape.side, patch, 12, HEADS, hidden, 4 * hidden)
    body.conv_proj = nn.Conv2d(shape.channels, hidden, patch, patch)
    body.heads = nn.Identity()
    return body, hidden
