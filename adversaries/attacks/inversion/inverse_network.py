"""The inverse network of the literature, as a reference beside our own decoders.

Axes: n rows, c channels, h and w pixels, d columns of the release, p channels of a release with two spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from adversaries.attacks.inversion.decoder import columns_of
from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import ChannelMatch
from adversaries.threat import Level
from vfc.seeding import seeded
from vfc.training import batch_indices

_BATCH = 32
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class InvertedNetwork(Reconstruction):
    """A trained network.

    Args:
        read: release to what the network reads.
        network: that to pixels.
        gradient_steps: optimizer steps taken.
    """

    read: Callable[[Tensor], Tensor]
    network: nn.Module
    gradient_steps: int

    @torch.no_grad()
    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (the source knows none)
    ) -> Float[Tensor, "n c h w"]:
        """What the network makes of the release; each row stands alone."""
        return torch.cat([self.network(self.read(rows)) for rows in torch.split(release, _CHUNK)])


@ADVERSARIES.register("inverse-network", goals=("reconstruction",), order=27)
@dataclass(frozen=True, kw_only=True)
class InverseNetwork(Reconstructor):
    """The inverse network of He et al.: transposed convolutions from the release to pixels, squared error alone.

    Knows: pairs (image, release) of its own.
    Does: standardizes the release; where it has two spatial axes, one transposed convolution per doubling of the side,
    64 channels each, else a linear layer to 4x4 maps first; then two convolutions. Adam, no weight decay, no schedule,
    no held-out part. A reference beside our own decoders, which a report at budget `full` shows; written from the
    paper, not from its code, with BatchNorm left out as there.
    Source: He, Zhang, Lee, Model inversion attacks against collaborative inference, ACSAC 2019,
    doi:10.1145/3359789.3359824 (section 5).

    Args:
        width: channels of the maps.
        epochs: passes over the pairs.
        lr: step size.
        times: factor on the epochs.
    """

    level: ClassVar[Level] = "L3"

    width: int = 64
    epochs: int = 50
    lr: float = 1e-3
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> InvertedNetwork:
        """Train on all pairs."""
        release, images = view.pairs
        read = _planes(release) if len(view.release_shape) == 3 else columns_of(release)
        inputs = read(release)
        shape = tuple(images.shape[1:])
        network = seeded(lambda: _network(tuple(inputs.shape[1:]), shape, self.width), generator).to(images.device)
        steps = self.epochs * self.times * math.ceil(len(images) / _BATCH)
        optimizer = torch.optim.Adam(network.parameters(), lr=self.lr)
        for rows in batch_indices(len(images), _BATCH, steps, generator):
            rows = rows.to(images.device)
            optimizer.zero_grad(set_to_none=True)
            nn.functional.mse_loss(network(inputs[rows]), images[rows]).backward()
            optimizer.step()
        return InvertedNetwork(read=read, network=network.eval(), gradient_steps=steps)

    def doubled(self) -> InverseNetwork:
        """The same with twice the epochs."""
        return replace(self, times=2 * self.times)


def _planes(release: Shaped[Tensor, "n p h w"]) -> Callable[[Tensor], Tensor]:
    """What standardizes every plane; what lies far out is held at ten deviations."""
    match = ChannelMatch.standard(release)
    return lambda rows: match(rows).clamp(-10, 10)


def _network(release: tuple[int, ...], shape: tuple[int, ...], width: int) -> nn.Sequential:
    """From planes (p, h', w') or columns (d,) to images (c, h, w)."""
    c, h, w = shape
    layers: list[nn.Module] = []
    if len(release) == 1:
        layers += [nn.Linear(release[0], width * 16), nn.ReLU(), nn.Unflatten(1, (width, 4, 4))]
        release = (width, 4, 4)
    channels, side = release[0], max(1, min(release[1:]))
    layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
    while 2 * side <= min(h, w):
        layers += [nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1), nn.ReLU()]
        side *= 2
    layers += [nn.Upsample(size=(h, w), mode="nearest"), nn.Conv2d(width, c, 3, padding=1)]
    return nn.Sequential(*layers)
