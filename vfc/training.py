"""One loop that trains classifiers: targets, unintended models and learned adversaries.

Axes: n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.errors import UserError


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How long and how hard to train.

    Args:
        steps: optimizer steps.
        batch: rows per step, at most; fewer rows than that are all used at every step.
        lr: peak learning rate of AdamW, after a short linear warm-up, before cosine decay to zero.
        weight_decay: decoupled weight decay.
        label_smoothing: share of the label spread over all classes.
        precision: `float32`, or `bf16` for autocast.
        augment: mirror and shift image batches at random.
    """

    steps: int
    batch: int = 64
    lr: float = 2e-3
    weight_decay: float = 1e-3
    label_smoothing: float = 0.0
    precision: Literal["float32", "bf16"] = "float32"
    augment: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or not self.lr > 0:
            raise UserError(
                f"expected positive steps, batch and lr, got {self.steps}, {self.batch} and {self.lr}",
                "training of no length finds nothing",
            )


@dataclass(frozen=True, kw_only=True)
class TrainLog:
    """What training did.

    Args:
        steps: optimizer steps taken.
        zero_gradient: whether the very first gradient was exactly zero everywhere.
        loss: mean loss over the last tenth of the steps.
    """

    steps: int
    zero_gradient: bool
    loss: float


def train_classifier(
    model: nn.Module,
    x: Shaped[Tensor, "n ..."],
    y: Int[Tensor, " n"],
    settings: TrainSettings,
    generator: torch.Generator,
    *,
    parameters: Iterable[nn.Parameter] | None = None,
    transform: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> TrainLog:
    """Minimize cross-entropy in place and leave the model in eval mode.

    Args:
        model: maps x to logits (n, k); changed in place.
        x: inputs; stay where they are, batches move to the model's device.
        y: class of every row.
        settings: length, rates and precision.
        generator: draws the batches and the augmentation (a CPU generator).
        parameters: what to optimize; all that require a gradient by default.
        transform: applied to every batch before the model.
        on_step: called with the step and its loss, for progress.
    """
    chosen = [p for p in (parameters if parameters is not None else model.parameters()) if p.requires_grad]
    device = next(model.parameters()).device
    # The fused step and channels-last halve the time of a small network on a CPU.
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(chosen, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)
    warm = max(1, settings.steps // 10)

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, settings.steps - warm)))

    bf16 = settings.precision == "bf16"
    if x.ndim == 4:
        model.to(memory_format=torch.channels_last)
    model.train()
    losses: list[float] = []
    zero_gradient = False
    batches = batch_indices(len(x), settings.batch, settings.steps, generator)
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * rate(step)
        batch, labels = x[rows].to(device), y[rows].to(device)
        if settings.augment:
            batch = augment(batch, generator)
        if transform is not None:
            batch = transform(batch, generator)
        autocast = torch.autocast(device.type, torch.bfloat16) if bf16 else contextlib.nullcontext()
        with autocast:
            logits = model(batch)
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step == 0:
            zero_gradient = all(p.grad is None or not p.grad.any() for p in chosen)
        optimizer.step()
        if step >= settings.steps - max(1, settings.steps // 10) or on_step is not None:
            losses.append(float(loss.detach()))
            if on_step is not None:
                on_step(step, losses[-1])
    model.eval()
    tail = losses[-max(1, settings.steps // 10) :]
    return TrainLog(steps=settings.steps, zero_gradient=zero_gradient, loss=sum(tail) / max(1, len(tail)))


def batch_indices(n: int, batch: int, steps: int, generator: torch.Generator) -> Iterable[Int[Tensor, " b"]]:
    """`steps` batches of row positions, epoch after epoch without replacement; a short last batch is skipped.

    Every batch has min(n, batch) rows, and at least two when n allows, so that batch statistics exist.
    """
    size = min(n, batch)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(n, generator=generator)
        yield order[:size]
        order = order[size:]


def augment(images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Mirror half of the images and shift each batch by up to an eighth of its side, with zero padding."""
    n, _, h, w = images.shape
    mirror = torch.rand(n, generator=generator).to(images.device) < 0.5
    images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    pad = max(1, h // 8)
    padded = nn.functional.pad(images, (pad, pad, pad, pad))
    top, left = torch.randint(2 * pad + 1, (2,), generator=generator).tolist()
    return padded[:, :, top : top + h, left : left + w]


@torch.no_grad()
def predict_logits(model: nn.Module, x: Shaped[Tensor, "n ..."], *, chunk: int = 512) -> Float[Tensor, "n k"]:
    """Logits of a model in eval mode, in chunks, on the CPU."""
    device = next((p.device for p in model.parameters()), x.device)
    model.eval()
    return torch.cat([model(x[i : i + chunk].to(device)).float().cpu() for i in range(0, len(x), chunk)])


def accuracy(model: nn.Module, x: Shaped[Tensor, "n ..."], y: Int[Tensor, " n"]) -> float:
    """Share of rows whose highest logit is the label's."""
    return float((predict_logits(model, x).argmax(1) == y.cpu()).double().mean())
