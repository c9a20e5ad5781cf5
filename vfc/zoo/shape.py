"""What a body is built for, and the arithmetic that fits published architectures to small images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The images that a body reads and how wide it is.

    Args:
        channels: 1 or 3.
        side: pixels per side, 8 to 64.
        width: factor on the published number of channels.
    """

    channels: int
    side: int
    width: float

    def scaled(self, count: int, divisor: int = 4) -> int:
        """A number of channels times the width: a multiple of `divisor`, the nearest, and at least `divisor`."""
        return max(divisor, round(count * self.width / divisor) * divisor)

    @property
    def halvings(self) -> int:
        """How often a convolutional body may halve the side: 2 at 8 pixels, 3 at 16 to 32, 4 at 64."""
        smallest = 2 if self.side <= 16 else 3
        return max(k for k in range(6) if self.side >= smallest * 2**k)

    def stem(self, out: int) -> nn.Conv2d:
        """The small-image stem: a 3x3 convolution of stride 1 without bias."""
        return nn.Conv2d(self.channels, out, 3, 1, 1, bias=False)
