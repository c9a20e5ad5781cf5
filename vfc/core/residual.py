"""Residual blocks of VFC's encoder and decoder.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity; size and channels stay.

    Args:
        channels: in and out.

    Source: He et al., Deep residual learning for image recognition, 2016, arXiv 1512.03385.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Add the branch to what came in."""
        return nn.functional.relu(x + self.branch(x))


def residual_blocks(channels: int, count: int) -> list[nn.Module]:
    """Some blocks in a row."""
    return [ResidualBlock(channels) for _ in range(count)]
