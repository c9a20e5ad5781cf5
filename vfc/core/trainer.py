"""VFC's training, from top to bottom: encode, mask, decode, ask the frozen target, add the KL term, step.

Source: Guo et al., Variational Feature Compression, 2026, arXiv 2604.06644; what the source leaves open is an option.
Axes: n images, c channels, h and w pixels, d latent dimensions. z is the latent, q(z|x) = N(mu, sigma^2).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vfc.core.decoder import Decoder
from vfc.core.encoder import Encoder
from vfc.core.mask import LatentMask, MaskRule
from vfc.core.objective import frozen, kl_per_dimension, latent_gradient, sample_latent, vfc_loss
from vfc.errors import UserError
from vfc.training import batch_indices

Watch = Callable[["Network", int, int], None]
"""Called with the network, optimizer steps done and steps in all: before the first step and after every one."""

_watch: ContextVar[Watch | None] = ContextVar("vfc_watch", default=None)


@contextlib.contextmanager
def watch_steps(callback: Watch) -> Iterator[None]:
    """Inside, every VFC training shows its network to `callback`, which must not change it."""
    token = _watch.set(callback)
    try:
        yield
    finally:
        _watch.reset(token)


@dataclass(frozen=True, kw_only=True)
class Recipe(MaskRule):
    """How VFC is built and trained; the fields are options of `VFC` and are explained there."""

    latent: int | None = None
    decoder: str = "transposed"
    output: str = "unbounded"
    width: int = 32
    beta: float = 0.003
    beta_schedule: str = "constant"
    warmup: float = 1 / 3
    mask_period: int = 2
    epochs: int | None = None
    deployment: str = "mean"
    batch: int | None = None
    lr: float = 2e-3
    precision: str = "float32"

    def latent_for(self, shape: tuple[int, int, int]) -> int:
        """Latent dimensions for images of shape (c, h, w)."""
        return self.latent or (32 if max(shape[1:]) <= 16 else 128)

    def epochs_for(self, shape: tuple[int, int, int]) -> int:
        """Epochs for images of shape (c, h, w)."""
        return self.epochs or (20 if max(shape[1:]) <= 16 else 14)

    def batch_for(self, shape: tuple[int, int, int]) -> int:
        """Images per step for images of shape (c, h, w)."""
        # Small sets of small images need the steps: 480 digits in batches of 64 are 140 steps, and lose accuracy.
        return self.batch or (32 if max(shape[1:]) <= 16 else 64)


class Network(nn.Module):
    """Encoder, mask and decoder.

    Args:
        shape: (c, h, w) of one image.
        recipe: how it is built.
    """

    def __init__(self, shape: tuple[int, int, int], recipe: Recipe) -> None:
        super().__init__()
        self.shape = shape
        latent = recipe.latent_for(shape)
        self.encoder = Encoder(shape, latent, recipe.width)
        self.mask = LatentMask(latent, recipe)
        self.decoder = Decoder(shape, latent, recipe.decoder, recipe.output, recipe.width)

    def forward(
        self, x: Float[Tensor, "n c h w"], generator: torch.Generator, *, sample: bool
    ) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n d"], Bool[Tensor, "m d"]]:
        """Release, KL per dimension, and the mask that was used (m = 1 or n)."""
        mu, log_variance = self.encoder(x)
        mu, log_variance = mu.float(), log_variance.float()
        kl = kl_per_dimension(mu, log_variance)
        z = sample_latent(mu, log_variance, generator) if sample else mu
        kept = self.mask(mu, kl, generator)
        return self.decoder(z * kept).float(), kl, kept


def train(
    network: Network,
    target: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    recipe: Recipe,
    generator: torch.Generator,
) -> None:
    """Train a network in place and leave it in eval mode. The target is frozen: nothing of it changes.

    Args:
        network: on the device where training happens.
        target: images to logits, on the same device; needs gradients with respect to its input.
        images: the defender's images in [0, 1]; batches move to the device.
        labels: their task labels.
        recipe: the settings.
        generator: draws batches, latents and random masks.

    Raises:
        UserError: the loss became infinite or not a number.
    """
    device = next(network.parameters()).device
    epochs, batch = recipe.epochs_for(network.shape), recipe.batch_for(network.shape)
    per_epoch = max(1, len(images) // batch)
    steps, warm = epochs * per_epoch, min(epochs - 1, round(recipe.warmup * epochs))
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False
    )
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")
    network.train()
    watch = _watch.get()
    if watch is not None:
        watch(network, 0, steps)
    with frozen(target):
        for step, rows in enumerate(batch_indices(len(images), batch, steps, generator)):
            epoch = step // per_epoch
            if step % per_epoch == 0 and epoch >= warm and (epoch - warm) % recipe.mask_period == 0:
                update_mask(network, target, images, labels, generator)
            ramp = min(1.0, (step + 1) / max(1, warm * per_epoch)) if recipe.beta_schedule == "linear" else 1.0
            with autocast:
                release, kl, _ = network(images[rows].to(device), generator, sample=True)
                logits = target(release)
            loss = vfc_loss(logits.float(), labels[rows].to(device), kl, recipe.beta * ramp)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            if watch is not None:
                watch(network, step + 1, steps)
            if (step + 1) % per_epoch == 0:
                _require_finite(float(loss.detach()), epoch + 1)
    network.eval()


def update_mask(
    network: Network,
    target: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    generator: torch.Generator,
    *,
    chunk: int = 512,
) -> None:
    """Recompute the network's mask over some images, in eval mode and without changing anything else.

    The gradient is taken at the masked latent, the point where the network works; it is not zero for dropped
    dimensions, so that they can come back.
    """
    device = next(network.parameters()).device
    pieces: list[tuple[Tensor, Tensor, Tensor]] = []
    training = network.training
    network.eval()
    for start in range(0, len(images), chunk):
        with torch.no_grad():
            mu, log_variance = network.encoder(images[start : start + chunk].to(device))
            kl = kl_per_dimension(mu, log_variance)
            kept = network.mask(mu, kl, generator)
        gradient = latent_gradient(network.decoder, target, mu * kept, labels[start : start + chunk].to(device))
        pieces.append((mu, kl, gradient))
    mu, kl, gradient = (torch.cat(column) for column in zip(*pieces, strict=True))
    network.mask.update(mu, kl, gradient, generator)
    network.train(training)


def _require_finite(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):
        raise UserError(f"expected VFC's loss to stay finite, got {loss} in epoch {epoch}", "lower lr or beta")
