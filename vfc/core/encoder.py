"""The variational encoder of VFC: images to a diagonal Gaussian over the latent.

Axes: n images, c channels, h and w pixels, d latent dimensions. mu and log_variance describe q(z|x).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from vfc.core.residual import residual_blocks

LOG_VARIANCE_LIMIT = 10.0
"""log sigma^2 is clamped to +- this, so that neither sigma^2 nor the KL term can overflow."""


def halvings(height: int, width: int) -> int:
    """How many stride-2 stages take the shorter side of an image to four pixels or fewer (at most six)."""
    side, stages = min(height, width), 0
    while side > 4 and stages < 6:
        side, stages = (side + 1) // 2, stages + 1
    return stages


def stage_channels(width: int, stages: int) -> list[int]:
    """Channels of the stages from the image inwards: doubling, at most eight times the first."""
    return [width * min(2**stage, 8) for stage in range(max(1, stages))]


class Encoder(nn.Module):
    """Convolutions to the mean and log variance of q(z|x) = N(mu, diag sigma^2).

    Without blocks: one strided convolution a stage, and a linear map from all that is left. With them: a convolution at
    full size, then in every stage a strided convolution and residual blocks, and a linear map from channel means.

    Args:
        shape: (c, h, w) of one image.
        latent: number d of latent dimensions.
        width: channels of the first convolution.
        stages: how often the sides are halved; None = until four pixels or fewer are left.
        blocks: residual blocks a stage.
        limit: log sigma^2 is clamped to +- this.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent: int,
        width: int = 32,
        *,
        stages: int | None = None,
        blocks: int = 0,
        limit: float = LOG_VARIANCE_LIMIT,
    ) -> None:
        super().__init__()
        self.limit = limit
        stages = halvings(*shape[1:]) if stages is None else stages
        self.features, values = _deep(shape, width, stages, blocks) if blocks else _plain(shape, width, stages)
        self.head = nn.Linear(values, 2 * latent)

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log variance of q(z|x) for every image."""
        mu, log_variance = self.head(self.features(x - 0.5)).chunk(2, dim=1)
        return mu, log_variance.clamp(-self.limit, self.limit)


def _plain(shape: tuple[int, int, int], width: int, stages: int) -> tuple[nn.Sequential, int]:
    """Strided convolutions, and how many values they leave of an image."""
    channels, height, across = shape
    layers: list[nn.Module] = []
    stride = 2 if stages else 1
    for outputs in stage_channels(width, stages):
        layers += _convolution(channels, outputs, stride)
        channels = outputs
        height, across = -(-height // stride), -(-across // stride)
    return nn.Sequential(*layers, nn.Flatten()), channels * height * across


def _deep(shape: tuple[int, int, int], width: int, stages: int, blocks: int) -> tuple[nn.Sequential, int]:
    """A residual network, and how many values it leaves of an image."""
    layers, channels = _convolution(shape[0], width, 1), width
    if not stages:
        layers += residual_blocks(width, blocks)
    for outputs in stage_channels(width, stages + 1)[1:]:
        layers += [*_convolution(channels, outputs, 2), *residual_blocks(outputs, blocks)]
        channels = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
