"""What probes without gradients share: safe inputs, and kernel ridge regression with closed-form leave-one-out.

Axes: n rows, d columns, r principal directions, k classes, m other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import Attack
from adversaries.goals.label import Scores

SCREEN = 1024
"""Rows on which kernels and bandwidths are compared, at most; the winner is fitted on all."""

_RIDGES = tuple(10.0**exponent for exponent in (-4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2))
_FIXED_RIDGE = 0.1
_FAR = 1e4
_LANDMARKS, _MORE_LANDMARKS, _MANY_ROWS = 1024, 2048, 4096
_MANY_VALUES, _BLOCK = 4e7, 512

KernelName = Literal["linear", "quadratic", "rbf"]


def as_float(release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Any release as float32; what is not finite becomes 0, so that nothing downstream can crash on it."""
    return torch.nan_to_num(release.to(torch.float32), nan=0.0, posinf=0.0, neginf=0.0)


def flat(release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
    """Any release as float32 rows."""
    return as_float(release).reshape(len(release), -1)


def wide(device: torch.device) -> torch.dtype:
    """The most precise float type of a device: float64 except on MPS, which has none."""
    return torch.float32 if device.type == "mps" else torch.float64


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Standardization of every column; columns without variance become 0.

    Args:
        mean: mean of every column.
        inverse: 1 / standard deviation, 0 for a constant column.
    """

    mean: Float[Tensor, " d"]
    inverse: Float[Tensor, " d"]

    @classmethod
    def fit(cls, values: Float[Tensor, "n d"]) -> Columns:
        """Means and deviations, in double precision because a release may reach the end of float32."""
        means, inverses = [], []
        for block in torch.split(values, 512, dim=1):
            exact = block.to(wide(values.device))
            constant = block.amax(0) == block.amin(0)
            deviation = exact.std(0, correction=0).masked_fill(constant, torch.inf)
            means.append(exact.mean(0))
            inverses.append(torch.nan_to_num(1 / deviation, posinf=0.0))
        return cls(mean=torch.cat(means), inverse=torch.cat(inverses))

    def __call__(self, values: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Standardized values as float32, bounded so that an outlier among the targets cannot overflow."""
        pieces = [(rows.to(self.mean.dtype) - self.mean) * self.inverse for rows in torch.split(values, 4096)]
        return torch.cat([piece.clamp(-_FAR, _FAR).float() for piece in pieces])


def spread(n: int, count: int) -> Int[Tensor, " m"]:
    """At most `count` positions evenly among n; rows lie in content-hash order, so this is a fair sample."""
    count = min(n, count)
    return torch.arange(count) * n // max(1, count)


def leave_one_out_possible(y: Int[Tensor, " n"]) -> bool:
    """Whether a left-out row usually leaves others of its class behind."""
    counts = torch.bincount(y)
    return bool(counts[counts > 0].double().median() >= 2)


def gram(
    kernel: KernelName, bandwidth: float, a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]
) -> Float[Tensor, "n m"]:
    """Kernel values: <a, b> / d; that squared; or exp(-|a - b|^2 / (2 bandwidth^2))."""
    if kernel == "rbf":
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-0.5 * (distance / bandwidth).square())
    product = a @ b.T / max(1, a.shape[1])
    return product.square() if kernel == "quadratic" else product


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Centered principal directions of the training rows in a kernel's feature space.

    Args:
        transform: any rows to their coordinates along those directions.
        coordinates: those of the training rows; orthogonal columns.
        eigenvalues: squared length of every column of `coordinates`.
    """

    transform: Callable[[Tensor], Tensor]
    coordinates: Float[Tensor, "n r"]
    eigenvalues: Float[Tensor, " r"]

    @classmethod
    def fit(
        cls,
        x: Shaped[Tensor, "n d"],
        kernel: KernelName = "linear",
        bandwidth: float = 1.0,
        features: Callable[[Tensor], Tensor] = lambda rows: rows,
    ) -> Basis:
        """Directions of a kernel: primal when there are few columns, dual when few rows, else by landmarks.

        Source of the landmarks: Williams, Seeger, "Using the Nystrom Method to Speed Up Kernel Machines", NIPS 2000.

        Args:
            x: training rows.
            kernel: which kernel.
            bandwidth: of the Gaussian kernel.
            features: applied to rows before the kernel, block by block, so that wide features need no memory.
        """
        count = _LANDMARKS if len(x) <= _MANY_ROWS else _MORE_LANDMARKS
        anchors = features(x[spread(len(x), count).to(x.device)])
        precise = wide(x.device) if len(x) * anchors.shape[1] <= _MANY_VALUES else torch.float32
        anchors = anchors.to(precise)
        if kernel == "linear" and anchors.shape[1] <= len(x):
            return cls._primal(features(x).to(precise), features)
        within = gram(kernel, bandwidth, anchors, anchors)
        column, total = within.mean(0), within.mean()
        centered = within - column[None, :] - column[:, None] + total
        values, vectors = _eigh(centered)
        scaled = vectors / values.sqrt()

        def transform(rows: Tensor) -> Tensor:
            pieces = []
            for block in torch.split(rows, _BLOCK):
                product = gram(kernel, bandwidth, features(block).to(precise), anchors)
                pieces.append((product - product.mean(1, keepdim=True) - column[None, :] + total) @ scaled)
            return torch.cat(pieces)

        if len(anchors) == len(x):
            return cls(transform=transform, coordinates=vectors * values.sqrt(), eigenvalues=values)
        return cls._primal(transform(x), transform)

    @classmethod
    def _primal(cls, features: Tensor, before: Callable[[Tensor], Tensor]) -> Basis:
        mean = features.mean(0)
        centered = features - mean
        values, vectors = _eigh(centered.T @ centered)

        def transform(rows: Tensor) -> Tensor:
            return (before(rows).to(features.dtype) - mean) @ vectors

        return cls(transform=transform, coordinates=centered @ vectors, eigenvalues=values)


def _eigh(symmetric: Float[Tensor, "r r"]) -> tuple[Tensor, Tensor]:
    """Eigenvalues and vectors without the directions that are rounding errors."""
    values, vectors = torch.linalg.eigh(symmetric.to(wide(symmetric.device)))
    keep = values > 1e-9 * values[-1].clamp_min(1e-30)
    return values[keep].to(symmetric.dtype), vectors[:, keep].to(symmetric.dtype)


@dataclass(frozen=True, kw_only=True)
class Ridge:
    """A fitted ridge regression on one-hot labels.

    Args:
        basis: where rows live.
        weights: from coordinates to centered scores.
        prior: mean of the one-hot labels.
        ridge: the chosen penalty on squared weights.
        left_out: leave-one-out accuracy at the chosen ridge; 0 when that is meaningless.
        error: mean squared leave-one-out error, which breaks ties.
    """

    basis: Basis
    weights: Float[Tensor, "r k"]
    prior: Float[Tensor, " k"]
    ridge: float
    left_out: float
    error: float

    @classmethod
    def fit(cls, basis: Basis, y: Int[Tensor, " n"], classes: int) -> Ridge:
        """Solve for every ridge of a grid and keep the one with the best leave-one-out accuracy.

        With h the leverage of a row, its prediction when left out is y - (y - fit) / (1 - h): closed form, no refits.
        """
        coordinates, values = basis.coordinates, basis.eigenvalues
        onehot = torch.nn.functional.one_hot(y, classes).to(coordinates)
        prior = onehot.mean(0)
        correlation = coordinates.T @ (onehot - prior)
        middle = float(values.mean()) if len(values) else 1.0
        if not leave_one_out_possible(y):
            ridge = _FIXED_RIDGE * middle
            weights = correlation / (values + ridge)[:, None]
            return cls(basis=basis, weights=weights, prior=prior, ridge=ridge, left_out=0.0, error=1.0)
        squares = coordinates.square()
        options: list[Ridge] = []
        for ridge in (middle * relative for relative in _RIDGES):
            shrink = 1 / (values + ridge)
            weights = correlation * shrink[:, None]
            leverage = (1 / len(y) + squares @ shrink).clamp(max=1 - 1e-9)
            residual = (onehot - prior - coordinates @ weights) / (1 - leverage)[:, None]
            hits = float(((onehot - residual).argmax(1) == y).double().mean())
            error = float(residual.square().mean())
            options.append(cls(basis=basis, weights=weights, prior=prior, ridge=ridge, left_out=hits, error=error))
        return options[strongest(options)]

    def scores(self, x: Shaped[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Scores of every class."""
        return (self.prior + self.basis.transform(x) @ self.weights).float()


def fit_best(
    x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int, kernels: Sequence[tuple[KernelName, float]]
) -> Ridge:
    """The kernel (name, bandwidth) with the best leave-one-out accuracy; the first one when that is meaningless.

    Compared on at most `SCREEN` rows, fitted on all.
    """
    rows = spread(len(y), SCREEN).to(x.device)
    chosen = 0
    if len(kernels) > 1 and leave_one_out_possible(y[rows]):
        fits = [Ridge.fit(Basis.fit(x[rows], *kernel), y[rows], classes) for kernel in kernels]
        chosen = strongest(fits)
        if len(rows) == len(y):
            return fits[chosen]
    return Ridge.fit(Basis.fit(x, *kernels[chosen]), y, classes)


def strongest(fits: Sequence[Ridge]) -> int:
    """Position of the best leave-one-out accuracy; of several the one with the smaller error."""
    return max(range(len(fits)), key=lambda at: (fits[at].left_out, -fits[at].error))


@dataclass(frozen=True, kw_only=True)
class ProbeAttack(Attack):
    """Fixed features of the release, then a ridge regression.

    Args:
        features: releases to columns.
        ridge: the regression on them.
        scale: regression on one-hot labels.
    """

    features: Callable[[Tensor], Tensor]
    ridge: Ridge
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Scores of every class; each row stands alone."""
        return self.ridge.scores(self.features(release))
