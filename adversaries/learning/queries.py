"""Own images as queries: copies that show the same, and are not the same.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def moved(
    images: Float[Tensor, "n c h w"], generator: torch.Generator, *, mirrored: bool = True
) -> Float[Tensor, "n c h w"]:
    """Every image moved by up to a pixel or an eighth of the side, whatever is more, its border repeated.

    None stays where it is: an unmoved copy would stay among the pairs from which its original is left out.

    Args:
        images: whatever values.
        generator: of the moves.
        mirrored: whether every second image, by chance, is mirrored too.
    """
    n, _, h, w = images.shape
    most = max(1, min(h, w) // 8)
    mirror = (torch.rand(n, generator=generator) < 0.5) & mirrored
    down, right = torch.randint(-most, most + 1, (2, n), generator=generator)
    right = torch.where((down == 0) & (right == 0), 1, right)
    columns = torch.arange(w).expand(n, w)
    columns = torch.where(mirror[:, None], w - 1 - columns, columns)
    rows = (torch.arange(h) + down[:, None]).clamp(0, h - 1).to(images.device)
    columns = (columns + right[:, None]).clamp(0, w - 1).to(images.device)
    each = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
