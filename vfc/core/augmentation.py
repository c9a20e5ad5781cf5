"""Images that VFC is trained on, moved a little: each by an offset of its own.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

AUGMENTATIONS = ("none", "shift", "mirror-shift")


def augmented(images: Float[Tensor, "n c h w"], kind: str, generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Shift every image by its own offset of up to an eighth of its sides, with zeros around, and mirror half of them.

    Args:
        images: a batch.
        kind: `none`, `shift`, or `mirror-shift`.
        generator: draws two offsets for every image, and whether it is mirrored (a CPU generator).
    """
    if kind == "none":
        return images
    n, _, height, width = images.shape
    rows, down = _shifted(n, height, generator)
    columns, across = _shifted(n, width, generator)
    if kind == "mirror-shift":
        mirrored = torch.rand(n, generator=generator) < 0.5
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, (across, across, down, down)).permute(0, 2, 3, 1)
    which = torch.arange(n, device=images.device)[:, None, None]
    # One gather for all: a loop over images would cost more than a step of a small network.
    moved = padded[which, rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _shifted(n: int, side: int, generator: torch.Generator) -> tuple[Tensor, int]:
    """Positions along one padded side that every image is read from, and how much padding there is at either end."""
    padding = max(1, side // 8)
    offsets = torch.randint(2 * padding + 1, (n, 1), generator=generator)
    return offsets + torch.arange(side), padding
