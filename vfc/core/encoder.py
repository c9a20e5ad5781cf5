"""The variational encoder of VFC: images to a diagonal Gaussian over the latent.

Axes: n images, c channels, h and w pixels, d latent dimensions. mu and log_variance describe q(z|x).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

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
    """Strided convolutions, then one linear layer to the mean and log variance of q(z|x) = N(mu, diag sigma^2).

    Args:
        shape: (c, h, w) of one image.
        latent: number d of latent dimensions.
        width: channels of the first stage.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int = 32) -> None:
        super().__init__()
        channels, height, across = shape
        stages = halvings(height, across)
        layers: list[nn.Module] = []
        for outputs in stage_channels(width, stages):
            stride = 2 if stages else 1
            layers += [
                nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            channels = outputs
            height, across = -(-height // stride), -(-across // stride)
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(channels * height * across, 2 * latent)

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Mean and log variance of q(z|x) for every image."""
        mu, log_variance = self.head(self.features(x - 0.5)).chunk(2, dim=1)
        return mu, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)
