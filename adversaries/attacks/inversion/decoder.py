"""A trained decoder.

Axes: n rows, c channels, h and w pixels, d columns of the release, p channels of a release with two spatial axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

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
    Does: starts from the closed-form decoder's pixels (for its own pairs those that they get when left out, so that it
    learns to correct errors that new releases have too) and adds what a U-Net makes of them and of the release. `image`
    reads the release as planes beside the pixels; `vector` reads all its values through one linear layer and
    up-sampling, wherever they stand. Loss: absolute error + weight * (1 - SSIM).
    Source: the inverse network of He, Zhang, Lee, Model inversion attacks against collaborative inference, ACSAC 2019,
    doi:10.1145/3359789.3359824; U-Net: Ronneberger, Fischer, Brox, 2015, arXiv 1505.04597.

    Args:
        form: vector or image.
        width: channels of the first stage; None for 16 below 28 pixels, else 32.
        weight: of 1 - SSIM beside the absolute error.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 150 and at least 8 epochs of batches of 64.
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
        planes = len(view.release_shape) == 3 and min(view.release_shape[1:]) >= 4
        if self.form == "image" and not planes:
            raise NotApplicableError("the release has no two spatial axes of at least 4")
        release, images = view.pairs
        ridge = fit_ridge(release, images, None, view.num_classes).plain
        base = ridge.left_out(images.flatten(1)).reshape(images.shape).clamp(0, 1)
        read: Callable[[Tensor], Tensor] = ChannelMatch.standard(release) if self.form == "image" else _columns(release)
        side = max(images.shape[2:])
        width = self.width or (16 if side < 28 else 32)
        inputs = read(release)
        network = seeded(lambda: Corrector(tuple(images.shape[1:]), tuple(inputs.shape[1:]), width), generator)
        steps = (self.steps or steps_for(len(images), least=150)) * self.times
        flags = self._train(network.to(images.device), base, inputs, images, steps, generator)
        return TrainedDecoder(
            base=ridge, read=read, network=network, shape=tuple(images.shape[1:]), gradient_steps=steps, flags=flags
        )

    def doubled(self) -> Decoder:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)

    def _train(
        self,
        network: nn.Module,
        base: Float[Tensor, "n c h w"],
        inputs: Float[Tensor, "n ..."],
        images: Float[Tensor, "n c h w"],
        steps: int,
        generator: torch.Generator,
    ) -> frozenset[str]:
        optimizer = torch.optim.AdamW(network.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        flags: frozenset[str] = frozenset()
        network.train()
        for step, rows in enumerate(batch_indices(len(images), BATCH, steps, generator)):
            optimizer.param_groups[0]["lr"] = self.lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            rows = rows.to(images.device)
            guess, truth = network(base[rows], inputs[rows]), images[rows]
            loss = (guess - truth).abs().mean() + self.weight * (1 - ssim(guess, truth).mean())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if step == 0 and all(p.grad is None or not p.grad.any() for p in network.parameters()):
                flags = frozenset({"ZERO_GRADIENT"})
            optimizer.step()
        network.eval()
        return flags


def _columns(release: Shaped[Tensor, "n ..."]) -> Callable[[Tensor], Tensor]:
    columns = Columns.fit(flat(release))
    return lambda rows: columns(flat(rows)).clamp(-10, 10)


class Corrector(nn.Module):
    """Pixels plus what a U-Net makes of them and of the release; it starts as the identity on pixels.

    Args:
        shape: (c, h, w) of one image.
        release: (d,) for columns, which enter at the smallest map, or (p, h', w') for planes, which enter beside the
            pixels, scaled to their size.
        width: channels of the first stage.
    """

    def __init__(self, shape: tuple[int, ...], release: tuple[int, ...], width: int) -> None:
        super().__init__()
        c, h, w = shape
        self.planar = len(release) == 3
        first = width
        self.start = _convolution(c + (release[0] if self.planar else 0), first)
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
            planes = nn.functional.interpolate(release, size=x.shape[2:], mode="nearest")
            x = torch.cat([x, planes.clamp(-10, 10)], dim=1)
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


def _convolution(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )
