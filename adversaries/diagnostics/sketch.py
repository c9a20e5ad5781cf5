"""The spectrum of a large symmetric matrix that is only known by its products with vectors.

Axes: a dimensions, q vectors, b probes (the first block of vectors), r points. theta is a Ritz value, an estimate of an
eigenvalue; a weight says how many eigenvalues it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.evidence import Value
from adversaries.statistics import estimates

Product = Callable[[Tensor], Tensor]
"""q vectors as rows, shape (q, a), to the matrix times each of them, shape (q, a)."""

PROBES = 32
STEPS = 10
"""Together they give the effective rank of Jacobians of residual networks within 2 % (see benchmarks/spectra.py)."""

_LARGE = 8192

_CONVERGED = 0.05
"""A Ritz value counts as one eigenvalue if its residual is below this share of it."""

_NEGLIGIBLE = 1e-6
"""Directions below this share of the largest eigenvalue are rounding: products are in float32."""


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """Points that stand for a spectrum.

    Args:
        values: points, descending, never negative.
        weights: how many eigenvalues each stands for; they add up to a.
        replicates: the weights with one probe left out, for standard errors.
        settled: how many points are single eigenvalues.
        products: how many products with the matrix were computed.
    """

    values: Float[Tensor, " r"]
    weights: Float[Tensor, " r"]
    replicates: Float[Tensor, "b r"]
    settled: int
    products: int


def sketch(
    product: Product,
    size: int,
    generator: torch.Generator,
    *,
    probes: int | None = None,
    steps: int = STEPS,
    device: torch.device | None = None,
) -> Sketch:
    """Block Lanczos quadrature: large eigenvalues one by one, the others as a density seen by random probes.

    Every Ritz value gets the weight that the probes have along it. One that has settled and is simple gets the weight
    1, which removes the luck of the probes where it matters most.

    Args:
        product: multiplies vectors with a symmetric positive semidefinite matrix.
        size: its dimensions a.
        generator: draws the probes.
        probes: vectors of the first block; None for 32, and 16 beyond 8,192 dimensions, whose average is steadier.
        steps: products with a block.
        device: where vectors live.

    Source: Golub, Underwood, The block Lanczos method for computing eigenvalues, 1977; Ubaru, Chen, Saad, Fast
    estimation of tr(f(A)) via stochastic Lanczos quadrature, SIAM J. Matrix Anal. Appl. 38, 2017.
    """
    probes = min(probes or (PROBES if size <= _LARGE else PROBES // 2), size)
    start = torch.randn(size, probes, generator=generator, device=generator.device, dtype=torch.float64)
    block = torch.linalg.qr(start.to(device)).Q
    # Filled block by block: in large spaces a copy of it is what memory there is.
    basis = block.new_empty(size, min(size, probes * steps))
    filled = probes
    basis[:, :filled] = block
    images: list[Tensor] = []
    residual = block.new_zeros(size, 0)
    scale = 0.0
    done = 0
    for step in range(steps):
        image = product(block.T.to(torch.float32)).double().T
        done += block.shape[1]
        known = basis[:, :filled]
        images.append(known.T @ image)
        scale = max(scale, float(image.norm(dim=0).max()))
        residual = image
        for _ in range(2):  # twice is enough (Kahan): once leaves rounding behind
            residual = residual - known @ (known.T @ residual)
        directions, lengths, _ = torch.linalg.svd(residual, full_matrices=False)
        block = directions[:, lengths > _NEGLIGIBLE * scale]
        if step == steps - 1 or block.shape[1] == 0:
            break
        block = block[:, : size - filled]
        basis[:, filled : filled + block.shape[1]] = block
        filled += block.shape[1]
    inner = _inner(images, filled)
    theta, vectors = torch.linalg.eigh(inner)
    theta, vectors = theta.flip(0).clamp_min(0), vectors.flip(1)
    last = images[-1].shape[1]
    residuals = (residual @ vectors[-last:]).norm(dim=0)
    seen = vectors[:probes].square()
    settled = (residuals <= _CONVERGED * theta) & (theta > _NEGLIGIBLE * scale)
    settled &= _simple(theta, seen.sum(0) * (size / probes), settled, probes)
    weights = _weights(seen, settled, size)
    replicates = [_weights(seen[torch.arange(probes) != i], settled, size) for i in range(probes)] if probes > 1 else []
    return Sketch(
        values=theta,
        weights=weights,
        replicates=torch.stack(replicates) if replicates else weights[None],
        settled=int(settled.sum()),
        products=done,
    )


def trace(half: Product, size: int, generator: torch.Generator, *, probes: int = PROBES, unit: str = "trace") -> Value:
    """tr(M'M) from products with M alone, with Student's t interval over the probes.

    Args:
        half: q vectors (q, a) to M times each, shape (q, anything).
        size: dimensions a.
        generator: draws the probes, +1 or -1 each.
        probes: how many.
        unit: of the result.

    Source: Hutchinson, A stochastic estimator of the trace of the influence matrix, Commun. Stat. 19, 1990.
    """
    signs = torch.randint(0, 2, (probes, size), generator=generator, device=generator.device)
    return estimates.mean(half(2.0 * signs - 1).double().square().sum(1).cpu().numpy(), unit)


def _inner(images: list[Tensor], size: int) -> Tensor:
    """The matrix in the basis; the part that rounding breaks is mirrored."""
    inner = images[0].new_zeros(size, size)
    column = 0
    for image in images:
        rows, columns = image.shape
        inner[:rows, column : column + columns] = image
        inner[column : column + columns, :rows] = image.T
        column += columns
    return inner


def _simple(theta: Tensor, weights: Tensor, settled: Tensor, probes: int) -> Tensor:
    """Which settled values are single eigenvalues: those of a multiple one weigh more than one each.

    Values closer than 0.1 % are judged together, at three standard errors of the probes.
    """
    simple = settled.clone()
    positions = torch.nonzero(settled).flatten().tolist()
    cluster: list[int] = []
    for i, position in enumerate(positions):
        cluster.append(position)
        following = positions[i + 1] if i + 1 < len(positions) else None
        if following is not None and float(theta[following]) > 0.999 * float(theta[position]):
            continue
        count = len(cluster)
        if float(weights[cluster].sum()) > count + 3 * math.sqrt(2 * count / probes) + 3 * 2 / probes:
            simple[cluster] = False
        cluster = []
    return simple


def _weights(seen: Tensor, settled: Tensor, size: int) -> Tensor:
    """Weights from the probes' squared overlaps; settled points weigh one, the others share the rest."""
    weights = seen.sum(0) * (size / len(seen))
    rest = float(weights[~settled].sum())
    left = size - int(settled.sum())
    if rest > 0:
        weights = weights * (left / rest)
    return torch.where(settled, torch.ones_like(weights), weights)
