"""Kernel ridge regression onto many columns at once, with closed-form leave-one-out.

Axes: n rows, d columns of the input, p columns of the output, r principal directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.learning.kernels import SCREEN, Basis, KernelName, spread

RIDGES = tuple(10.0**exponent for exponent in (-9, -7, -5, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2))
"""Penalties that are tried, relative to the mean eigenvalue."""

MARGIN = 0.02
"""A kernel takes the place of the linear map where its leave-one-out error is lower by this share of that."""

_BANDWIDTHS = (0.5, 1.0, 2.0)
_SKETCH = 96
_FEW_VALUES = 2e7
_SCALE_ROWS = 500
_CHUNK = 2048


@dataclass(frozen=True, kw_only=True)
class RidgeMap:
    """A fitted regression.

    Args:
        features: input to standardized columns.
        basis: where they live.
        weights: from coordinates to centered output.
        mean: mean output.
        ridge: the chosen penalty.
        kernel: the chosen kernel and its bandwidth.
        error: mean squared leave-one-out error.
    """

    features: Callable[..., Tensor]
    basis: Basis
    weights: Float[Tensor, "r p"]
    mean: Float[Tensor, " p"]
    ridge: float
    kernel: tuple[KernelName, float]
    error: float

    @classmethod
    def fit(
        cls,
        features: Callable[..., Tensor],
        x: Float[Tensor, "n d"],
        y: Float[Tensor, "n p"],
        kernels: Sequence[tuple[KernelName, float]] = (),
        margin: float = 0.0,
    ) -> RidgeMap:
        """Fit the kernel with the smallest leave-one-out error; the first one unless that is lower by a margin.

        Args:
            features: what made x; kept for new rows.
            x: standardized columns.
            y: what to predict.
            kernels: names and bandwidths to choose among; none: linear and, where they can be afforded, quadratic and
                Gaussian of several widths.
            margin: share of the first kernel's error by which another one's must be lower, in [0, 1).
        """
        kernels = kernels or default_kernels(x)
        rows = spread(len(x), SCREEN).to(x.device)
        if len(kernels) > 1:
            tried = [cls._solve(features, x[rows], y[rows], kernel) for kernel in kernels]
            best = min(tried, key=lambda fit: fit.error)
            best = best if best.error < (1 - margin) * tried[0].error else tried[0]
            if len(rows) == len(x):
                return best
            kernels = (best.kernel,)
        return cls._solve(features, x, y, kernels[0])

    @classmethod
    def _solve(
        cls, features: Callable[..., Tensor], x: Tensor, y: Tensor, kernel: tuple[KernelName, float]
    ) -> RidgeMap:
        basis = Basis.fit(x, *kernel)
        coordinates, values = basis.coordinates, basis.eigenvalues
        mean = y.to(coordinates).mean(0)
        correlation = coordinates.T @ (y.to(coordinates) - mean)
        middle = float(values.mean()) if len(values) else 1.0
        some = spread(len(x), SCREEN).to(x.device)
        mixed, means, told = (_mixed(each, y.shape[1]) for each in (y.to(coordinates), mean[None], correlation))
        ridge, least = 1.0, float("inf")
        for candidate in (middle * relative for relative in RIDGES):
            weights = told / (values + candidate)[:, None]
            residual = _left_out_residual(coordinates, values, weights, mixed, means[0], candidate, some)
            found = float(residual.square().mean())
            if found < least:
                ridge, least = candidate, found
        weights = correlation / (values + ridge)[:, None]
        residual = _left_out_residual(coordinates, values, weights, y, mean, ridge, some)
        error = float(residual.square().mean()) if len(some) else float("inf")
        return cls(features=features, basis=basis, weights=weights, mean=mean, ridge=ridge, kernel=kernel, error=error)

    def __call__(self, *inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n p"]:
        """Predictions for new rows."""
        return (self.mean + self.basis.transform(self.features(*inputs)) @ self.weights).float()

    def left_out(self, y: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        """The prediction of every training row by the regression fitted without it."""
        pieces = []
        for rows in torch.split(torch.arange(len(y), device=y.device), _CHUNK):
            residual = _left_out_residual(
                self.basis.coordinates, self.basis.eigenvalues, self.weights, y, self.mean, self.ridge, rows
            )
            pieces.append((y[rows].to(residual) - residual).float())
        return torch.cat(pieces)


def default_kernels(x: Float[Tensor, "n d"]) -> tuple[tuple[KernelName, float], ...]:
    """Kernels worth trying on some standardized rows."""
    linear: tuple[tuple[KernelName, float], ...] = (("linear", 1.0),)
    if x.numel() > _FEW_VALUES:
        return linear
    some = x[: min(len(x), _SCALE_ROWS)]
    middle = float(torch.cdist(some, some).median()) or 1.0
    return (*linear, ("quadratic", 1.0), *(("rbf", width * middle) for width in _BANDWIDTHS))


def _mixed(values: Float[Tensor, "m p"], count: int) -> Float[Tensor, "m q"]:
    """Random mixtures of many columns, whose squares are those of all columns on average; few stay as they are.

    Penalties are compared on them, always the same ones, at a fraction of the cost.
    """
    if count <= 2 * _SKETCH:
        return values
    drawn = torch.randn(count, _SKETCH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return values @ drawn.to(values)


def _left_out_residual(
    coordinates: Float[Tensor, "n r"],
    values: Float[Tensor, " r"],
    weights: Float[Tensor, "r p"],
    y: Float[Tensor, "n p"],
    mean: Float[Tensor, " p"],
    ridge: float,
    rows: Tensor,
) -> Float[Tensor, "m p"]:
    """y minus its prediction when left out: with h the leverage of a row, (y - fit) / (1 - h)."""
    some = coordinates[rows]
    leverage = (1 / len(y) + some.square() @ (1 / (values + ridge))).clamp(max=1 - 1e-9)
    return (y[rows].to(some) - mean - some @ weights) / (1 - leverage)[:, None]
