"""The singular values of one matrix, and what is read off them.

Axes: m rows, d columns, r singular values (or the points that stand for them), b replicates. l = s^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

RELATIVE = (1e-2, 1e-3, 1e-6)
"""Singular values above these shares of the largest count for the rank."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Singular values, exact or sketched.

    Args:
        values: descending.
        weights: how many singular values each one stands for; ones when exact. They add up to the smaller side.
        shape: (m, d) of the matrix.
        eps: distance from 1 to the next number in the precision that the matrix was computed in.
        method: how they were computed, in words.
        replicates: of a sketch, the weights with one probe left out; None when exact.
    """

    values: Float[Tensor, " r"]
    weights: Float[Tensor, " r"]
    shape: tuple[int, int]
    eps: float
    method: str
    replicates: Float[Tensor, "b r"] | None = None

    @property
    def exact(self) -> bool:
        """Whether every singular value is there."""
        return self.replicates is None

    @property
    def eigenvalues(self) -> Float[Tensor, " r"]:
        """l = s^2."""
        return self.values.square()

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the shares l / sum(l), at most the rank; 0 for a matrix of zeros."""
        return effective_rank(self.eigenvalues, self.weights)

    @property
    def stable_rank(self) -> float:
        """Squared Frobenius norm / squared spectral norm; 0 for a matrix of zeros."""
        top = float(self.eigenvalues[0])
        return float((self.weights * self.eigenvalues).sum()) / top if top > 0 else 0.0

    @property
    def tolerance(self) -> float:
        """The share of the largest singular value below which rounding decides: max(m, d) * eps."""
        return max(self.shape) * self.eps

    def rank(self, relative: float | None = None) -> float | None:
        """How many singular values exceed `relative` times the largest; None for a sketch, which cannot see small ones.

        Args:
            relative: a share in (0, 1); None for max(m, d) * eps.
        """
        return float(self._above(relative)) if self.exact else None

    def rank_at_least(self, relative: float | None = None) -> int:
        """A lower bound of the rank that holds for sketches too: their values interlace with the true ones."""
        return self._above(relative)

    def _above(self, relative: float | None) -> int:
        share = self.tolerance if relative is None else relative
        return int((self.values > share * self.values[0]).sum())

    def error(self, statistic: Callable[[Spectrum], float | None]) -> float:
        """Standard error of a statistic of a sketch, by the jackknife over its probes; 0 when exact."""
        if self.replicates is None:
            return 0.0
        each = [statistic(replace(self, weights=weights)) or 0.0 for weights in self.replicates]
        count, center = len(each), sum(each) / len(each)
        return math.sqrt((count - 1) / count * sum((value - center) ** 2 for value in each))


def effective_rank(eigenvalues: Float[Tensor, " r"], weights: Float[Tensor, " r"] | None = None) -> float:
    """exp(entropy) of eigenvalues / their sum; 0 if all are zero. Negative ones, of rounding, count as zero.

    Source: Roy, Vetterli, The effective rank: a measure of effective dimensionality, EUSIPCO 2007, applied to J'J.
    """
    values = eigenvalues.double().clamp_min(0)
    counts = torch.ones_like(values) if weights is None else weights.double()
    total = (counts * values).sum()
    if float(total) <= 0:
        return 0.0
    shares = values / total
    return math.exp(-float((counts * torch.special.xlogy(shares, shares)).sum()))


def gram(matrix: Float[Tensor, "m d"]) -> Float[Tensor, "s s"]:
    """The smaller of J'J and JJ', in float64."""
    wide = matrix.double()
    return wide @ wide.T if wide.shape[0] <= wide.shape[1] else wide.T @ wide


def roots(symmetric: Float[Tensor, "s s"]) -> Float[Tensor, " s"]:
    """Square roots of the eigenvalues, descending."""
    values: Tensor = torch.linalg.eigvalsh(symmetric)
    return values.clamp_min(0).sqrt().flip(0)


def spectrum_of(matrix: Float[Tensor, "m d"], method: str = "exact") -> Spectrum:
    """All singular values of one matrix.

    In float32 by the smaller Gram matrix in float64: exact to 2e-8 of the largest, below what float32 itself resolves.
    In float64 by the singular value decomposition.
    """
    values = torch.linalg.svdvals(matrix) if matrix.dtype == torch.float64 else roots(gram(matrix))
    return Spectrum(
        values=values,
        weights=torch.ones_like(values),
        shape=(matrix.shape[0], matrix.shape[1]),
        eps=torch.finfo(matrix.dtype).eps,
        method=method,
    )
