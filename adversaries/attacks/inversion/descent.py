"""White-box inversion: moving images until the defense publishes what was seen.

Axes: n images, c channels, h and w pixels, p = c * h * w values of one image, d columns of a release, r directions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from adversaries.learning.kernels import Columns, flat, spread, wide
from vfc.defense import Defense
from vfc.errors import NotApplicableError, UserError

_ROWS = 2000
_DIRECTIONS = 1024
_LOUDEST = 3.0


@dataclass(frozen=True, kw_only=True)
class Match:
    """How far the release of a guessed image is from the release that was seen.

    Args:
        defense: the fitted defense; its randomness is drawn anew at every step.
        columns: scale of every released value.
        draws: the expectation over the defense's randomness is taken over so many releases at every step.
    """

    defense: Defense
    columns: Columns
    draws: int

    @classmethod
    def of(
        cls,
        defense: Defense,
        release: Shaped[Tensor, "n ..."],
        draws: int,
        images: Float[Tensor, "n c h w"],
        *,
        gradients: bool = True,
    ) -> Match:
        """For a defense that can be asked here; with `gradients`, to publish what a gradient can flow through.

        Raises:
            NotApplicableError: the defense cannot publish with what this level grants, or leaves torch on the way.
        """
        columns = Columns.fit(flat(release))
        alive = columns.inverse[columns.inverse > 0]
        if len(alive):
            # Columns that hardly ever vary must not drown the others.
            columns = replace(columns, inverse=columns.inverse.clamp(max=float(alive.median()) * _LOUDEST))
        match = cls(defense=defense, columns=columns, draws=draws)
        reasons = {False: "the defense does not publish with what L4 grants; its target comes with L5"}
        reasons[True] = "no gradient can be taken through the defense"
        for moving in (False, True) if gradients else (False,):
            try:
                with torch.set_grad_enabled(moving):
                    match(images[:2].clone().requires_grad_(moving), release[:2], torch.Generator().manual_seed(0))
            except UserError as error:
                raise NotApplicableError(f"{reasons[moving]} ({error.what})") from error
        return match

    def __call__(
        self, x: Float[Tensor, "n c h w"], release: Shaped[Tensor, "n ..."], generator: torch.Generator
    ) -> Float[Tensor, " n"]:
        """Mean squared difference per image, in units of each column's variance."""
        total: Tensor | float = 0.0
        for _ in range(self.draws):
            total = total + self.scaled(self.defense.publish(x, generator).values)
        return (total / self.draws - self.scaled(release)).square().mean(1)

    def scaled(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Released values in units of each column's deviation."""
        mean, inverse = self.columns.mean.float(), self.columns.inverse.float()
        return ((flat(values) - mean) * inverse).clamp(-1e4, 1e4)


class Canvas(ABC):
    """Images as functions of numbers that a gradient can move."""

    @property
    @abstractmethod
    def moving(self) -> list[Tensor]:
        """What is moved."""

    @abstractmethod
    def images(self) -> Float[Tensor, "n c h w"]:
        """The images, inside [0, 1]."""

    @abstractmethod
    def penalty(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How unlikely every image is."""


def inside(x: Tensor) -> Tensor:
    """Values clipped to [0, 1] whose gradient passes all the same, so that none is stuck outside."""
    return x + (x.clamp(0, 1) - x).detach()


def total_variation(images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """Mean squared difference of neighboring pixels."""
    rows = (images[:, :, 1:] - images[:, :, :-1]).square().flatten(1).mean(1)
    return rows + (images[:, :, :, 1:] - images[:, :, :, :-1]).square().flatten(1).mean(1)


class Pixels(Canvas):
    """Every pixel by itself; smooth images are likely (total variation)."""

    def __init__(self, start: Float[Tensor, "n c h w"]) -> None:
        self.x = start.clone().requires_grad_()

    @property
    def moving(self) -> list[Tensor]:
        """The pixels."""
        return [self.x]

    def images(self) -> Float[Tensor, "n c h w"]:
        """The pixels, clipped."""
        return inside(self.x)

    def penalty(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """Total variation."""
        return total_variation(images)


@dataclass(frozen=True, kw_only=True)
class Directions:
    """Principal directions of what a decoder gets wrong about the attacker's own images.

    Args:
        basis: one direction per row, times the deviation of errors along it.
        shape: (c, h, w) of one image.
    """

    basis: Float[Tensor, "r p"]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, errors: Float[Tensor, "n c h w"]) -> Directions:
        """Measured on at most 2,000 errors, whose mean counts as none; at most 1,024 directions."""
        rows = errors[spread(len(errors), _ROWS).to(errors.device)].flatten(1).to(wide(errors.device))
        _, lengths, vectors = torch.linalg.svd(rows, full_matrices=False)
        keep = lengths > 1e-6 * lengths[:1].clamp_min(1e-12)
        scaled = vectors[keep] * (lengths[keep] / math.sqrt(len(rows)))[:, None]
        return cls(basis=scaled[:_DIRECTIONS].float(), shape=tuple(errors.shape[1:]))


class Components(Canvas):
    """Errors of a decoder's guess, in standard deviations along their directions; small ones are likely (Gaussian)."""

    def __init__(
        self, start: Float[Tensor, "n c h w"], guess: Float[Tensor, "n c h w"], directions: Directions
    ) -> None:
        self.guess, self.directions = guess, directions
        lengths = directions.basis.square().sum(1)
        z = (start - guess).flatten(1) @ directions.basis.T / lengths
        self.z = z.clamp(-10, 10).requires_grad_()

    @property
    def moving(self) -> list[Tensor]:
        """The coordinates."""
        return [self.z]

    def images(self) -> Float[Tensor, "n c h w"]:
        """The images, clipped."""
        return inside(self.guess + (self.z @ self.directions.basis).reshape(-1, *self.directions.shape))

    def penalty(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:  # noqa: ARG002
        """Mean squared coordinate."""
        return self.z.square().mean(1)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Where a descent ended.

    Args:
        images: the best iterate of every image by the attack's own loss.
        loss: that loss.
        flat: whether the very first gradient was exactly zero.
    """

    images: Float[Tensor, "n c h w"]
    loss: Float[Tensor, " n"]
    flat: bool


def descend(
    canvas: Canvas,
    match: Match,
    release: Shaped[Tensor, "n ..."],
    generator: torch.Generator,
    *,
    weight: float,
    steps: int,
    lr: float,
) -> Descent:
    """Adam with cosine decay on match + weight * penalty, every image by itself.

    Args:
        canvas: what is moved.
        match: distance to the release.
        release: what was seen.
        generator: draws the defense's randomness.
        weight: of the penalty.
        steps: gradient steps, at least 1.
        lr: first step size.
    """
    best: Tensor | None = None
    loss = torch.full((len(release),), torch.inf, device=release.device)
    # A loss that ends flat has nowhere to go; that is said, and the start is what is left.
    stuck = False
    optimizer = torch.optim.Adam(canvas.moving, lr=lr)
    with torch.enable_grad():
        for step in range(steps + 1):
            images = canvas.images()
            each = match(images, release, generator) + weight * canvas.penalty(images)
            with torch.no_grad():
                better: Bool[Tensor, " n"] = each < loss
                loss = torch.where(better, each, loss)
                shown = images.detach().clamp(0, 1)
                best = shown if best is None else torch.where(better[:, None, None, None], shown, best)
            if step == steps:
                break
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            optimizer.zero_grad(set_to_none=True)
            if step == 0:
                stuck = _no_gradient(canvas, match, release, generator)
            each.sum().backward()
            for moved in canvas.moving:
                if moved.grad is not None:
                    moved.grad.nan_to_num_(posinf=0.0, neginf=0.0)
            optimizer.step()
    if best is None:
        raise ValueError("expected at least one step")
    return Descent(images=best, loss=loss.detach(), flat=stuck)


def _no_gradient(canvas: Canvas, match: Match, release: Tensor, generator: torch.Generator) -> bool:
    """Whether the distance alone does not depend on the image, as far as gradients tell."""
    distance = match(canvas.images(), release, generator)
    if not distance.requires_grad:
        return True
    grads = torch.autograd.grad(distance.sum(), canvas.moving, allow_unused=True)
    return all(grad is None or not grad.any() for grad in grads)


def best_of(runs: list[Descent]) -> Float[Tensor, "n c h w"]:
    """Of several descents the images with the lowest own loss, one by one."""
    images, loss = runs[0].images, runs[0].loss
    for run in runs[1:]:
        better = run.loss < loss
        images = torch.where(better[:, None, None, None], run.images, images)
        loss = torch.where(better, run.loss, loss)
    return images


def own_error(images: Float[Tensor, "n c h w"], truth: Float[Tensor, "n c h w"]) -> float:
    """Mean squared error on images that the attacker owns, by which it sets its own options."""
    return float(nn.functional.mse_loss(images, truth))
