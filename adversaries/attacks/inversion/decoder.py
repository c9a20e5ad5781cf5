"""A trained decoder.

Axes: n rows, c channels, h and w pixels, d columns of the release, p channels of a release with two spatial axes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from adversaries.attacks.inversion.ridge_decoder import fit_ridge
from adversaries.goals.image_metrics import ssim
from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.networks import BATCH, ChannelMatch, steps_for
from adversaries.learning.ridge_map import RidgeMap
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import batch_indices

_CHUNK = 256
_FEW = 20
"""Fewer pairs are all learned from."""

_FRESH, _CHECK, _PATIENCE = 0.03, 10, 5
"""Share of the newest weights in the average, at least; steps between two looks and looks in vain, at least."""


@dataclass(frozen=True, kw_only=True)
class TrainedDecoder(Reconstruction):
    """A regression and a network that corrects it.

    Args:
        base: release to pixels.
        read: release to what the network reads beside that.
        network: corrects the pixels.
        shape: (c, h, w) of one image.
        gradient_steps: optimizer steps taken.
        flags: doubts about the fit.
    """

    base: RidgeMap
    read: Callable[[Tensor], Tensor]
    network: nn.Module
    shape: tuple[int, ...]
    gradient_steps: int
    flags: frozenset[str]

    @torch.no_grad()
    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (the release shows it anyway)
    ) -> Float[Tensor, "n c h w"]:
        """Corrected pixels; each row stands alone."""
        pieces = []
        for rows in torch.split(release, _CHUNK):
            pixels = self.base(rows).reshape(-1, *self.shape).clamp(0, 1)
            pieces.append(self.network(pixels, self.read(rows)))
        return torch.cat(pieces)


@ADVERSARIES.register("decoder", goals=("reconstruction",), variants=({"form": "vector"}, {"form": "image"}), order=20)
@dataclass(frozen=True, kw_only=True)
class Decoder(Reconstructor):
    """A network trained to turn releases into images.

    Knows: pairs (image, release) of its own.
    Does: starts from the pixels of a linear map in closed form, or of a kernel's where that is clearly better (for its
    own pairs those that they get when left out, so that it learns to correct errors that new releases have too), and
    adds what a U-Net makes of them and of the release. `image` reads the release as planes beside the pixels, unfolded
    where they are coarser; `vector` reads all its values through one linear layer and up-sampling, wherever they stand.
    Loss: absolute error + weight * (1 - SSIM). Weights are averaged over recent steps. A tenth of its own pairs is held
    out: training ends when they are rebuilt no better for long, and the average that rebuilt them best is kept, which
    may be the closed-form decoder itself.
    Source: the inverse network of He, Zhang, Lee, Model inversion attacks against collaborative inference, ACSAC 2019,
    doi:10.1145/3359789.3359824; U-Net: Ronneberger, Fischer, Brox, 2015, arXiv 1505.04597.

    Args:
        form: vector or image.
        width: channels of the first stage; None for 16 below 28 pixels, else 32.
        weight: of 1 - SSIM beside the absolute error.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps, at most; None for at least 200 and at least 16 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L3"

    form: Literal["vector", "image"] = "vector"
    width: int | None = None
    weight: float = 0.2
    lr: float = 4e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> TrainedDecoder:
        """Solve, then train; raises `NotApplicableError` for `image` without two spatial axes."""
        return self.learned(*view.pairs, view.num_classes, generator)

    def learned(
        self,
        release: Shaped[Tensor, "n ..."],
        images: Float[Tensor, "n c h w"],
        classes: int,
        generator: torch.Generator,
    ) -> TrainedDecoder:
        """What it learns from pairs.

        Args:
            release: releases; every tenth pair is held out.
            images: what they stand for.
            classes: number of classes that the target tells apart.
            generator: the only source of randomness.

        Raises:
            NotApplicableError: `image` without two spatial axes.
        """
        if self.form == "image" and not (release.ndim == 4 and min(release.shape[2:]) >= 4):
            raise NotApplicableError("the release has no two spatial axes of at least 4")
        ridge = fit_ridge(release, images, None, classes).plain
        base = ridge.left_out(images.flatten(1)).reshape(images.shape).clamp(0, 1)
        read: Callable[[Tensor], Tensor] = (
            ChannelMatch.standard(release) if self.form == "image" else columns_of(release)
        )
        width = self.width or (16 if max(images.shape[2:]) < 28 else 32)
        inputs = read(release)
        network = seeded(lambda: Corrector(tuple(images.shape[1:]), tuple(inputs.shape[1:]), width), generator)
        steps = (self.steps or steps_for(len(images), least=200, epochs=16)) * self.times
        network.to(images.device).to(memory_format=torch.channels_last)
        kept, steps, flags = self._train(network, (base, inputs, images), steps, generator)
        return TrainedDecoder(
            base=ridge, read=read, network=kept, shape=tuple(images.shape[1:]), gradient_steps=steps, flags=flags
        )

    def doubled(self) -> Decoder:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)

    def _train(
        self, network: nn.Module, pairs: tuple[Tensor, Tensor, Tensor], steps: int, generator: torch.Generator
    ) -> tuple[nn.Module, int, frozenset[str]]:
        """The kept average, the steps taken, and doubts.

        Args:
            network: untrained.
            pairs: base pixels, what the network reads beside them, and images, row by row.
            steps: at most.
            generator: draws batches.
        """
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        flags: frozenset[str] = frozenset()
        every = torch.arange(len(pairs[0]), device=pairs[0].device)
        held = every % 10 == 9 if len(every) >= _FEW else every < 0
        own, others = [each[~held] for each in pairs], [each[held] for each in pairs]
        best = Stopping(network, max(_CHECK, len(own[0]) // (2 * BATCH)), steps, self._held_out(others))
        network.train()
        for step, rows in enumerate(batch_indices(len(own[0]), BATCH, steps, generator)):
            optimizer.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            base, inputs, truth = (each[rows.to(each.device)] for each in own)
            loss = self._loss(network(base, inputs), truth)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if step == 0 and all(p.grad is None or not p.grad.any() for p in network.parameters()):
                flags = frozenset({"ZERO_GRADIENT"})
            optimizer.step()
            if best.ends(network, last=step + 1 == steps):
                break
        return best.kept.eval(), best.step, flags | best.flags

    def _loss(self, guess: Float[Tensor, "n c h w"], truth: Float[Tensor, "n c h w"]) -> Float[Tensor, ""]:
        return (guess - truth).abs().mean() + self.weight * (1 - ssim(guess, truth).mean())

    def _held_out(self, pairs: list[Tensor]) -> Callable[[nn.Module], float] | None:
        """How badly a network rebuilds held-out pairs; None without any."""
        base, inputs, truth = pairs
        if not len(base):
            return None
        pieces = [each.split(_CHUNK) for each in (base, inputs, truth)]

        def error(network: nn.Module) -> float:
            losses = [len(rows) * self._loss(network(own, seen), rows) for own, seen, rows in zip(*pieces, strict=True)]
            return float(sum(losses)) / len(truth)

        return error


def _recent(average: Tensor, weights: Tensor, count: Tensor | int) -> Tensor:
    """An average over recent steps, over fewer where there were few, so that the first ones are soon forgotten."""
    return average + (weights - average) * max(_FRESH, 9 / (10 + float(count)))


class Stopping:
    """Watches the average of a network's weights over recent steps, and keeps the best one.

    Args:
        network: before training.
        every: steps between two looks at held-out pairs.
        steps: how many there are at most; a quarter of them is waited for something better.
        error: of a network on held-out pairs; None: the last average is kept.
    """

    def __init__(self, network: nn.Module, every: int, steps: int, error: Callable[[nn.Module], float] | None) -> None:
        self.average = AveragedModel(network, avg_fn=_recent, use_buffers=True)
        self.every, self.error, self.patience = every, error, max(_PATIENCE * every, steps // 4)
        self.step = self.found = 0
        self.kept, self.least = copy.deepcopy(network), math.inf
        self.flags: frozenset[str] = frozenset()
        self._look()

    def ends(self, network: nn.Module, *, last: bool) -> bool:
        """Take one step's weights in; whether training ends here."""
        self.average.update_parameters(network)
        self.step += 1
        if last or self.step % self.every == 0:
            self._look()
        # A network is worse than its base for a while before it is better.
        begun = self.error is not None and self.found > 0
        return begun and self.step - self.found > max(self.patience, self.found // 2)

    @torch.no_grad()
    def _look(self) -> None:
        network = self.average.module.eval()
        error = -float(self.step) if self.error is None else self.error(network)
        if not math.isfinite(error):  # what is kept says nothing of how far training gets
            self.flags = frozenset({"NOT_CONVERGED"})
        if error < self.least:
            self.kept, self.least, self.found = copy.deepcopy(network), error, self.step


def columns_of(release: Shaped[Tensor, "n ..."]) -> Callable[[Tensor], Tensor]:
    """What standardizes every value of a release; what lies far out is held at ten deviations."""
    columns = Columns.fit(flat(release))
    return lambda rows: columns(flat(rows)).clamp(-10, 10)


class Corrector(nn.Module):
    """Pixels plus what a U-Net makes of them and of the release; it starts as the identity on pixels.

    Args:
        shape: (c, h, w) of one image.
        release: (d,) for columns, which enter at the smallest map, or (p, h', w') for planes, which enter beside the
            pixels: as they are, unfolded where one of theirs stands for a square of pixels, or else scaled.
        width: channels of the first stage.
    """

    def __init__(self, shape: tuple[int, ...], release: tuple[int, ...], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.planar = len(release) == 3
        first = width
        square = h // release[1] if self.planar and (h / release[1], h % release[1]) == (w / release[2], 0) else 1
        self.unfold = None if square == 1 else _unfolding(release[0], max(4, width // 2), square)
        planes = max(4, width // 2) if self.unfold else release[0]
        self.start = _convolution(c + (planes if self.planar else 0), first)
        self.down, self.up, sides = nn.ModuleList(), nn.ModuleList(), [(h, w)]
        while min(sides[-1]) > 4 and len(sides) < 4:
            self.down.append(_convolution(width, 2 * width, stride=2))
            self.up.insert(0, _convolution(3 * width, width))
            width *= 2
            sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
        self.small = (width, *sides[-1])
        self.columns = None if self.planar else nn.Linear(release[0], width * sides[-1][0] * sides[-1][1])
        self.end = nn.Conv2d(first, c, 3, padding=1)
        for parameter in self.end.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pixels: Float[Tensor, "n c h w"], release: Float[Tensor, "n ..."]) -> Float[Tensor, "n c h w"]:
        """Corrected pixels."""
        x = pixels - 0.5
        if self.planar:
            planes = release.clamp(-10, 10)
            planes = planes if self.unfold is None else self.unfold(planes)
            x = torch.cat([x, nn.functional.interpolate(planes, size=x.shape[2:], mode="nearest")], dim=1)
        x = self.start(x)
        skips = []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        if self.columns is not None:
            x = x + self.columns(release).reshape(-1, *self.small)
        for stage in self.up:
            skip = skips.pop()
            x = stage(torch.cat([nn.functional.interpolate(x, size=skip.shape[2:], mode="nearest"), skip], dim=1))
        corrected: Tensor = pixels + self.end(x)
        return corrected


def _unfolding(inputs: int, outputs: int, square: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs * square**2, 3, padding=1), nn.PixelShuffle(square))


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
