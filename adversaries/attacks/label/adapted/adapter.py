"""A small trainable map in front of a frozen unintended model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.networks import (
    ChannelMatch,
    Moments,
    NetworkAttack,
    attack_from,
    final_linear,
    fit_head,
    training,
)
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import train_classifier

_MOST_WEIGHTS = 16_000_000
_BOTTLENECK = 256


class Adapted(nn.Module):
    """Adapter, then the channel statistics of clean images, then the frozen model.

    Args:
        adapter: prepared release to the shape of an image.
        model: the unintended model; stays in eval mode.
        clean: channel statistics of clean images.
    """

    def __init__(self, adapter: nn.Module, model: nn.Module, clean: Moments) -> None:
        super().__init__()
        self.adapter, self.frozen = adapter, model
        self.matched = nn.BatchNorm2d(len(clean.mean))
        with torch.no_grad():
            self.matched.weight.copy_(clean.deviation.clamp_min(1e-3))
            self.matched.bias.copy_(clean.mean)

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits."""
        logits: Tensor = self.frozen(self.matched(self.adapter(x)))
        return logits

    def train(self, mode: bool = True) -> Adapted:
        """The frozen model keeps its statistics whatever the adapter does."""
        super().train(mode)
        self.frozen.eval()
        return self


class ResidualConvolution(nn.Module):
    """x + a two-layer convolution of x that starts at 0."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, channels, 5, padding=2),
        )
        nn.init.zeros_(self.inner[3].weight)  # type: ignore[arg-type]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The adapted release."""
        adapted: Tensor = x + self.inner(x)
        return adapted


@ADVERSARIES.register("adapter", goals=("task", "attribute"), order=320, length={"least": 200, "epochs": 8})
@dataclass(frozen=True, kw_only=True)
class Adapter(Adversary):
    """A small trainable map from the release to an image in front of a frozen unintended model.

    Knows: labelled and unlabelled releases, its own clean images, the models trained on them.
    Does: trains a residual convolution (releases shaped like images) or a linear map (any other release, and on
    request), whose output gets the channel statistics of clean images; the model behind it stays frozen, except for a
    new head where the label has another number of classes. The way unintended models enter when a release is not
    shaped like an image.

    Args:
        model: name of the unintended model.
        form: `auto` (convolution for image-shaped releases, else linear), `convolution` or `linear`.
        width: hidden channels of the convolution.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 200 and at least 8 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L2"
    per_model: ClassVar[bool] = True

    model: str
    form: Literal["auto", "convolution", "linear"] = "auto"
    width: int = 16
    lr: float = 5e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Train; raises `NotApplicableError` for `convolution` on a release that is not shaped like an image."""
        images = view.images[0]
        shape = (images.shape[1], images.shape[2], images.shape[3])
        convolution = view.release_shape == shape if self.form == "auto" else self.form == "convolution"
        if convolution and view.release_shape != shape:
            raise NotApplicableError("the release is not shaped like an image, so a convolution cannot adapt it")
        model = view.model(self.model).requires_grad_(False)
        if fit_head(
            model,
            view.num_classes,
            lambda old: seeded(lambda: nn.Linear(old.in_features, view.num_classes), generator),
        ):
            final_linear(model).requires_grad_(True)
        release, y = view.labelled
        size = math.prod(view.release_shape)
        net = seeded(
            lambda: Adapted(
                ResidualConvolution(shape[0], self.width) if convolution else _linear(size, shape),
                model,
                Moments.of(images),
            ),
            generator,
        ).to(release.device)
        prepare = ChannelMatch.standard(view.unlabelled) if convolution else _flattened(view.unlabelled)
        settings = training(
            len(y), max(shape[1:]), steps=self.steps, times=self.times, lr=self.lr, weight_decay=self.weight_decay
        )
        log = train_classifier(net, prepare(release), y, settings, generator)
        return attack_from(net, prepare, log)

    def doubled(self) -> Adapter:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _flattened(releases: Tensor) -> Callable[[Tensor], Tensor]:
    columns = Columns.fit(flat(releases))
    return lambda rows: columns(flat(rows)).clamp(-10, 10)


def _linear(size: int, shape: tuple[int, int, int]) -> nn.Module:
    """A linear map to the shape of an image, through a bottleneck where it would be huge."""
    pixels = math.prod(shape)
    if size * pixels <= _MOST_WEIGHTS:
        return nn.Sequential(nn.Linear(size, pixels), nn.Unflatten(1, shape))
    narrow = nn.Linear(size, _BOTTLENECK, bias=False)
    return nn.Sequential(narrow, nn.Linear(_BOTTLENECK, pixels), nn.Unflatten(1, shape))
