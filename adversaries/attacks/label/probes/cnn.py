"""A convolutional network from scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import ChannelMatch, NetworkAttack, trained, training
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.seeding import seeded


@ADVERSARIES.register("cnn", goals=("task", "attribute"), order=240, length={"least": 200, "epochs": 8})
@dataclass(frozen=True, kw_only=True)
class ConvolutionalNetwork(Adversary):
    """A convolutional network on the release, trained from scratch.

    Knows: labelled releases; unlabelled ones for the scale of every channel.
    Does: standardizes channels, then a small network with BatchNorm, AdamW, fixed length, no augmentation. Reads
    anything of shape (c, h, w) with sides of at least 4, integers included.

    Args:
        width: channels of the first stage; None for 16 below 28 pixels, else 48.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 200 and at least 8 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L2"

    width: int | None = None
    lr: float = 4e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Train; raises `NotApplicableError` for releases without two spatial axes."""
        shape = view.release_shape
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise NotApplicableError("the release has no two spatial axes of at least 4")
        release, y = view.labelled
        side = max(shape[1:])
        width = self.width or (16 if side < 28 else 48)
        net = seeded(lambda: _network(shape[0], width, side, view.num_classes), generator).to(release.device)
        settings = training(
            len(y), side, steps=self.steps, times=self.times, lr=self.lr, weight_decay=self.weight_decay
        )
        return trained(net, ChannelMatch.standard(view.unlabelled), (release, y), settings, generator)

    def doubled(self) -> ConvolutionalNetwork:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _network(channels: int, width: int, side: int, classes: int) -> nn.Module:
    """Stages of two convolutions that halve the side until 4; the last map is read whole, not averaged away."""
    layers: list[nn.Module] = _block(channels, width, 1)
    while side > 4:
        layers += _block(width, 2 * width, 2)
        width, side = 2 * width, (side + 1) // 2
        if side > 8:
            layers += _block(width, width, 1)
    last = min(side, 4)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(last), nn.Flatten(), nn.Linear(width * last**2, classes))


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]
