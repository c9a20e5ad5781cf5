"""What learned adversaries share: budgets, standardized inputs, BatchNorm statistics, and the networks themselves.

Axes: n rows, c channels, h and w pixels, d columns, f features, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adversaries.adversary import Attack
from adversaries.learning.kernels import as_float, wide
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import TrainLog, TrainSettings, predict_logits, train_classifier

BATCH = 64
_FAR = 1e3
_LARGEST_INPUT = 1e6


def steps_for(rows: int, *, least: int = 200, epochs: int = 8) -> int:
    """How many steps a learned adversary takes by default: every label is seen at least `epochs` times."""
    return max(least, math.ceil(epochs * rows / BATCH))


def training(rows: int, side: int, *, steps: int | None, times: int, lr: float, weight_decay: float) -> TrainSettings:
    """Settings for some number of labelled rows; bf16 where images and pools are large enough to gain from it.

    Args:
        rows: labelled rows.
        side: side of an image in pixels, 0 for vectors.
        steps: optimizer steps, or None for `steps_for`.
        times: factor on the steps (2 in the doubling check).
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
    """
    return TrainSettings(
        steps=(steps if steps is not None else steps_for(rows)) * times,
        batch=BATCH,
        lr=lr,
        weight_decay=weight_decay,
        precision="bf16" if side >= 28 and rows >= 5000 else "float32",
    )


@dataclass(frozen=True, kw_only=True)
class NetworkAttack(Attack):
    """A network in eval mode behind fixed preparation of its input.

    Args:
        model: prepared input to logits.
        prepare: release to input.
        gradient_steps: optimizer steps taken.
        flags: doubts about the fit.
    """

    model: nn.Module
    prepare: Callable[[Tensor], Tensor]
    gradient_steps: int = 0
    flags: frozenset[str] = frozenset()

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits; each row stands alone."""
        return predict_logits(self.model, self.prepare(release))


def trained(
    model: nn.Module,
    prepare: Callable[[Tensor], Tensor],
    labelled: tuple[Shaped[Tensor, "n ..."], Int[Tensor, " n"]],
    settings: TrainSettings,
    generator: torch.Generator,
) -> NetworkAttack:
    """Train a network on prepared labelled releases."""
    x, y = prepare(labelled[0]), labelled[1]
    # Dropout knows only the global random state, so that one is set from the generator meanwhile.
    log = seeded(lambda: train_classifier(model, x, y, settings, generator), generator)
    return attack_from(model, prepare, log)


def attack_from(model: nn.Module, prepare: Callable[[Tensor], Tensor], log: TrainLog) -> NetworkAttack:
    """The attack of a trained network, with the doubts that its training left."""
    flags = frozenset({"ZERO_GRADIENT"}) if log.zero_gradient else frozenset[str]()
    return NetworkAttack(model=model, prepare=prepare, gradient_steps=log.steps, flags=flags)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Mean and deviation of every channel.

    Args:
        mean: per channel.
        deviation: per channel; 0 for a constant one.
    """

    mean: Float[Tensor, " c"]
    deviation: Float[Tensor, " c"]

    @classmethod
    def of(cls, images: Float[Tensor, "n c h w"]) -> Moments:
        """Measured in double precision over rows and pixels, channel by channel."""
        means, deviations = [], []
        for channel in images.unbind(1):
            values = channel.to(wide(images.device))
            constant = bool(channel.amax() == channel.amin())
            means.append(values.mean())
            deviations.append(values.std(correction=0) * (0.0 if constant else 1.0))
        return cls(mean=torch.stack(means), deviation=torch.stack(deviations))


@dataclass(frozen=True, kw_only=True)
class ChannelMatch:
    """An affine map of every channel from one mean and deviation to others."""

    source: Moments
    aim: Moments

    @classmethod
    def standard(cls, releases: Shaped[Tensor, "n c h w"]) -> ChannelMatch:
        """To mean 0 and deviation 1."""
        source = Moments.of(as_float(releases))
        zero = torch.zeros_like(source.mean)
        return cls(source=source, aim=Moments(mean=zero, deviation=zero + 1))

    @classmethod
    def between(cls, releases: Shaped[Tensor, "n c h w"], images: Float[Tensor, "m c h w"]) -> ChannelMatch:
        """From releases to images."""
        return cls(source=Moments.of(as_float(releases)), aim=Moments.of(images))

    def __call__(self, release: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The mapped release as float32; a constant channel becomes the aimed-at mean."""
        x = as_float(release).to(self.source.mean)
        inverse = torch.nan_to_num(1 / self.source.deviation, posinf=0.0)
        z = ((x - _channels(self.source.mean)) * _channels(inverse)).clamp(-_FAR, _FAR)
        return (z * _channels(self.aim.deviation.to(z)) + _channels(self.aim.mean.to(z))).float()


def _channels(values: Tensor) -> Tensor:
    return values[None, :, None, None]


def as_input(release: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A release as a network reads it: float32, finite, and within 1e6 so that no layer overflows."""
    return as_float(release).clamp(-_LARGEST_INPUT, _LARGEST_INPUT)


def batchnorms(model: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers that keep running statistics.

    Raises:
        NotApplicableError: there is none.
    """
    found = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not found:
        raise NotApplicableError("the unintended model has no BatchNorm, so there are no statistics to re-estimate")
    return found


@torch.no_grad()
def reestimate(model: nn.Module, x: Float[Tensor, "n c h w"], generator: torch.Generator, *, batch: int = 256) -> None:
    """Replace running statistics by the average over batches of x, in place; leaves the model in eval mode.

    Every row is seen once, in batches of nearly equal size; nothing but BatchNorm is in training mode meanwhile.
    """
    layers = batchnorms(model)
    device = next(model.parameters()).device
    model.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    order = torch.randperm(len(x), generator=generator)
    for rows in order.tensor_split(max(1, round(len(x) / batch))):
        model(x[rows.to(x.device)].to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def final_linear(model: nn.Module) -> nn.Linear:
    """The classification head: `model.head` if it is linear, else the last linear layer.

    Raises:
        NotApplicableError: the model has no linear layer.
    """
    head = getattr(model, "head", None)
    if isinstance(head, nn.Linear):
        return head
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not linear:
        raise NotApplicableError("the unintended model has no linear layer that could be its head")
    return linear[-1]


def fit_head(model: nn.Module, classes: int, build: Callable[[nn.Linear], nn.Linear]) -> bool:
    """Replace the head, in place, if it has another number of classes; returns whether it had."""
    head = final_linear(model)
    if head.out_features == classes:
        return False
    fresh = build(head).to(head.weight)
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is head:
                setattr(parent, name, fresh)
    return True


def require_classes(model: nn.Module, classes: int) -> None:
    """Refuse a model that predicts another label than the attacked one."""
    outputs = final_linear(model).out_features
    if outputs != classes:
        raise NotApplicableError(
            f"the unintended model tells {outputs} classes apart, the attacked label has {classes}"
        )


@contextmanager
def _captured(layer: nn.Module) -> Iterator[list[Tensor]]:
    kept: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _module, inputs: kept.append(inputs[0].detach()))
    try:
        yield kept
    finally:
        handle.remove()


@torch.no_grad()
def head_inputs(model: nn.Module, x: Float[Tensor, "n c h w"], *, chunk: int = 512) -> Float[Tensor, "n f"]:
    """What reaches the head of a model in eval mode, on the device of x."""
    device = next(model.parameters()).device
    model.eval()
    with _captured(final_linear(model)) as kept:
        for rows in torch.split(x, chunk):
            model(rows.to(device))
    return torch.cat(kept).float().to(x.device)
