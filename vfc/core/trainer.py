"""VFC's training, from top to bottom: encode, mask, decode, ask the frozen target, add the KL term, step.

Source: Guo et al., Variational Feature Compression, 2026, arXiv 2604.06644; what the source leaves open is an option.
Axes: n images, c channels, h and w pixels, d latent dimensions. z is the latent, q(z|x) = N(mu, sigma^2).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.augmentation import augmented
from vfc.core.folding import folded
from vfc.core.history import Average, Best, Epoch, TrainingHistory, schedule_of
from vfc.core.network import Network
from vfc.core.objective import frozen, kl_per_dimension, latent_gradient, vfc_loss
from vfc.core.recipe import Recipe
from vfc.errors import UserError
from vfc.seeding import seeded
from vfc.training import batch_indices

VALIDATION_IMAGES = 2000
"""Epochs are compared on so many of the defender's validation images, at most: looking must stay cheap."""

_CHUNK = 512

Watch = Callable[[Network, int, int], None]
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
class Examples:
    """Images and their task labels.

    Args:
        images: in [0, 1], shape (n, c, h, w); batches move to the device.
        labels: shape (n,).
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]


def train(
    network: Network,
    target: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    recipe: Recipe,
    generator: torch.Generator,
    *,
    validation: Examples | None = None,
) -> TrainingHistory:
    """Train a network in place and leave it in eval mode. The target is frozen: nothing of it changes.

    A loss that becomes infinite ends the training with a warning and the last good state, if there is one with a mask.

    Args:
        network: on the device where training happens.
        target: images to logits, on the same device; needs gradients with respect to its input.
        images: the defender's images in [0, 1]; batches move to the device.
        labels: their task labels.
        recipe: the settings.
        generator: draws batches, offsets, latents and random masks.
        validation: the defender's own, by which the best epoch is chosen if the recipe asks for that.

    Raises:
        UserError: the loss became infinite or not a number, and no earlier state can be used.
    """
    with frozen(target):
        run = _Run(network, target, Examples(images=images, labels=labels), recipe, generator, validation)
        return run.go()


class _Run:
    """One training."""

    def __init__(
        self,
        network: Network,
        target: nn.Module,
        data: Examples,
        recipe: Recipe,
        generator: torch.Generator,
        validation: Examples | None,
    ) -> None:
        shape = network.shape
        self.network, self.data, self.recipe, self.generator = network, data, recipe, generator
        self.device = next(network.parameters()).device
        self.batch, self.epochs = recipe.batch_for(shape), recipe.epochs_for(shape)
        self.per_epoch = max(1, len(data.images) // self.batch)
        self.steps = self.epochs * self.per_epoch
        self.start = min(self.epochs - 1, round(recipe.head_start * self.epochs))
        through = self.epochs - self.start
        self.warm = self.start + min(through - 1, round(recipe.warmup * through))
        fast = recipe.fast_for(shape)
        self.layout = torch.channels_last if fast else torch.contiguous_format
        self.target = folded(target, data.images[:8].to(self.device)) if fast else target
        if fast:
            network.to(memory_format=torch.channels_last)
        self.augment = recipe.augment_for(shape)
        self.head_weight = recipe.head_weight_for(shape)
        self.head = self._linear_head() if self.start or self.head_weight else None
        self.parameters = [*network.parameters(), *(self.head.parameters() if self.head is not None else ())]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=recipe.lr_for(shape), weight_decay=recipe.weight_decay_for(shape), fused=fast
        )
        self.schedule = self._schedule(self.start or self.epochs)
        self.average = Average(network, recipe.averaging)
        compares = recipe.keep_epoch_for(shape) == "best" and validation is not None and len(validation.images) > 0
        self.validation = validation if compares else None
        self.best = Best(network, always=not compares)
        self.returned = 0

    def go(self) -> TrainingHistory:
        """All epochs, or those until the loss became infinite."""
        watch, done, ended = _watch.get(), list[Epoch](), None
        self.network.train()
        if watch is not None:
            watch(self.network, 0, self.steps)
        loss = math.nan
        for step, rows in enumerate(batch_indices(len(self.data.images), self.batch, self.steps, self.generator)):
            epoch = step // self.per_epoch
            if step % self.per_epoch == 0:
                if epoch and epoch == self.start:
                    self.schedule = self._schedule(self.epochs - self.start)
                self._renew(epoch)
            last = (step + 1) % self.per_epoch == 0
            value = self._step(rows, self._beta(step), through=epoch >= self.start)
            if watch is not None:
                watch(self.network, step + 1, self.steps)
            if not last:
                continue
            loss = float(value)
            if not math.isfinite(loss):
                ended = self._diverged(loss, epoch + 1)
                break
            done.append(self._look(epoch, loss))
        if self.best.state is None:
            ended = self._diverged(loss, self.epochs)
        self.best.restore()
        self.network.eval()
        return TrainingHistory(epochs=tuple(done), kept=self.best.epoch, ended=ended)

    def _renew(self, epoch: int) -> None:
        """A new mask, if this epoch has one."""
        self.returned = 0
        if self.recipe.mask == "none" or epoch < self.warm or (epoch - self.warm) % self.recipe.mask_period:
            return
        before, images, labels = self.network.mask.kept.clone(), self.data.images, self.data.labels
        most = self.recipe.mask_images_for(self.network.shape)
        if most < len(images):
            rows = torch.randperm(len(images), generator=self.generator)[:most]
            images, labels = images[rows], labels[rows]
        update_mask(self.network, self.target, images, labels, self.generator)
        self.returned = int((self.network.mask.kept & ~before).sum())

    def _beta(self, step: int) -> float:
        """Weight of the KL term at a step."""
        if self.recipe.beta_schedule == "constant":
            return self.recipe.beta
        return self.recipe.beta * min(1.0, (step + 1) / max(1, self.warm * self.per_epoch))

    def _linear_head(self) -> nn.Linear:
        with torch.no_grad():
            classes = self.target(self.data.images[:2].to(self.device)).shape[1]
        width = len(self.network.mask.kept)
        return seeded(lambda: nn.Linear(width, classes), self.generator).to(self.device)

    def _schedule(self, epochs: int) -> torch.optim.lr_scheduler.LRScheduler:
        lr = self.recipe.lr_for(self.network.shape)
        return schedule_of(self.recipe.lr_schedule, self.optimizer, lr, epochs * self.per_epoch)

    def _step(self, rows: Int[Tensor, " b"], beta: float, *, through: bool) -> Tensor:
        """One step, through the target or, at first, through a linear head alone; its loss, still on the device."""
        images = augmented(self.data.images[rows], self.augment, self.generator)
        inputs = images.to(self.device).contiguous(memory_format=self.layout)
        labels = self.data.labels[rows].to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            z, kl, kept = self.network.latent(inputs, self.generator, sample=True)
            logits = self.target(self.network.decoder(z * kept).float()) if through else None
        # Unless it is held at the prior, a dropped dimension keeps what it knew, and may come back.
        kl = kl * kept if self.recipe.kl_over == "kept" else kl
        told = None if self.head is None else self.head(z * kept)
        if logits is not None:
            loss = vfc_loss(logits.float(), labels, kl, beta)
            if told is not None:
                loss = loss + self.head_weight * cross_entropy(told, labels)
        elif told is not None:
            loss = vfc_loss(told, labels, kl, beta)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip)
        self.optimizer.step()
        self.schedule.step()
        self.average.step(self.network)
        return loss.detach()

    def _look(self, epoch: int, loss: float) -> Epoch:
        """What an epoch did; its state is kept if it is the best that could be deployed."""
        accuracy = None
        self.average.swap(self.network)
        if epoch >= self.warm:
            if self.validation is not None:
                accuracy = served(self.network, self.target, self.validation, self.generator)
            if all(bool(value.isfinite().all()) for value in self.network.state_dict().values()):
                self.best.offer(epoch + 1, accuracy)
        if epoch + 1 < self.epochs:
            self.average.swap(self.network)
        return Epoch(loss=loss, accuracy=accuracy, returned=self.returned)

    def _diverged(self, loss: float, epoch: int) -> str:
        said = f"expected VFC's loss to stay finite, got {loss} in epoch {epoch}"
        if self.best.state is None:
            raise UserError(said, "lower lr or beta")
        warnings.warn(f"{said}: epoch {self.best.epoch} was kept; lower lr or beta, or set clip", stacklevel=4)
        return said


@torch.no_grad()
def answers(
    network: Network, target: nn.Module, images: Float[Tensor, "n c h w"], generator: torch.Generator
) -> Int[Tensor, " n"]:
    """The class that the target names for every release of a latent's mean; modes are restored."""
    device, training = next(network.parameters()).device, network.training
    network.eval()
    pieces = [
        target(network(rows.to(device), generator, sample=False)[0]).argmax(1).cpu()
        for rows in torch.split(images, _CHUNK)
    ]
    network.train(training)
    return torch.cat(pieces)


def served(network: Network, target: nn.Module, held: Examples, generator: torch.Generator) -> float:
    """Accuracy of the target on releases of some of the defender's validation images, in [0, 1]; 0 without any."""
    images, labels = held.images[:VALIDATION_IMAGES], held.labels[:VALIDATION_IMAGES].cpu()
    if not len(images):
        return 0.0
    with frozen(target):
        return float((answers(network, target, images, generator) == labels).double().mean())


def update_mask(
    network: Network,
    target: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    generator: torch.Generator,
    *,
    chunk: int = _CHUNK,
) -> None:
    """Recompute the network's mask over some images, in eval mode and without changing anything else.

    The gradient is taken where the network works, at the masked latent, or at the whole one (`saliency_at`). Either
    way it is not zero for dropped dimensions. Whether they do come back depends on what training does to them: with the
    KL of all dimensions in the loss, dropped ones fall to the prior, where both of their scores are near zero.
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
        point = mu if network.mask.rule.saliency_at == "unmasked" else mu * kept
        gradient = latent_gradient(network.decoder, target, point, labels[start : start + chunk].to(device))
        pieces.append((mu, kl, gradient))
    mu, kl, gradient = (torch.cat(column) for column in zip(*pieces, strict=True))
    network.mask.update(mu, kl, gradient, generator)
    network.train(training)
