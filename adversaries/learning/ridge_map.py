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

_BANDWIDTHS = (0.5, 1.0, 2.0)
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
    ) -> RidgeMap:
        """Fit the kernel with the smallest leave-one-out error.

        Args:
            features: what made x; kept for new rows.
            x: standardized columns.
            y: what to predict.
            kernels: names and bandwidths to choose among; none: linear, quadratic and, where it can be afforded,
                Gaussian of several widths.
        """
        kernels = kernels or default_kernels(x)
        rows = spread(len(x), SCREEN).to(x.device)
        if len(kernels) > 1:
            tried = [cls._solve(features, x[rows], y[rows], kernel) for kernel in kernels]
            best = min(tried, key=lambda fit: fit.error)
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
        ridge, error = 1.0, float("inf")
        for candidate in (middle * relative for relative in RIDGES):
            weights = correlation / (values + candidate)[:, None]
            residual = _left_out_residual(coordinates, values, weights, y, mean, candidate, some)
            found = float(residual.square().mean())
            if found < error:
                ridge, error = candidate, found
        weights = correlation / (values + ridge)[:, None]
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
