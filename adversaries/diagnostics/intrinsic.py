"""Intrinsic dimension of a cloud of releases: on a manifold of how many dimensions do they lie, roughly?

Three estimators. They assume that the density is about constant among near neighbors, and fall short in high dimensions
with few points. Axes: n points, p values of a point, k neighbors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.diagnostics.dof import inner_products
from adversaries.diagnostics.jackknife import jackknife
from adversaries.evidence import Value
from vfc.errors import NotApplicableError

NEIGHBORS = 20
"""Neighbors of the maximum likelihood estimate and of local PCA, unless said otherwise."""

DISCARDED = 0.1
"""Share of the largest ratios that TwoNN leaves out."""

LOCAL_SHARE = 0.05
"""Local PCA counts components with more than this share of the largest local variance."""

MOST_POINTS = 2_000
"""More points are thinned out evenly: distances between all pairs are needed."""

_GROUPS = 20
_FEWEST = 20


def two_nn(ratios: Float[Tensor, " n"], *, discarded: float = DISCARDED) -> float:
    """Dimension from the ratio of the distances to the second and first neighbor of every point.

    The ratios follow a Pareto law with the dimension as its exponent; a line through the origin is fitted to
    -log(1 - F(ratio)) over log(ratio).

    Args:
        ratios: at least 1.
        discarded: share of the largest ones to leave out, in [0, 1).

    Source: Facco, d'Errico, Rodriguez, Laio, Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information, Sci. Rep. 7, 2017.
    """
    ordered = ratios.double().sort().values.log()
    n = len(ordered)
    kept = max(1, int(n * (1 - discarded)))
    x = ordered[:kept]
    y = -torch.log1p(-torch.arange(1, kept + 1, dtype=torch.float64, device=x.device).clamp_max(n - 0.5) / n)
    square = float((x * x).sum())
    if square <= 0:
        raise NotApplicableError("every point has its first two neighbors at one distance")
    return float((x * y).sum()) / square


def maximum_likelihood(distances: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """1 / dimension at every point, from its distances to k neighbors, ascending; the mean of these is inverted.

    Source: Levina, Bickel, Maximum likelihood estimation of intrinsic dimension, NIPS 2004; averaging of the inverses:
    MacKay, Ghahramani, comments on it, 2005.
    """
    logs = distances.double().log()
    return (logs[:, -1:] - logs[:, :-1]).mean(1)


def local_pca(
    points: Float[Tensor, "n p"], neighbors: Int[Tensor, "n k"], *, share: float = LOCAL_SHARE
) -> Float[Tensor, " n"]:
    """Number of principal components of every neighborhood with more than a share of its largest variance.

    Source: Fukunaga, Olsen, An algorithm for finding intrinsic dimensionality of data, IEEE Trans. Comput. 20, 1971.
    """
    counts = []
    for some in torch.split(neighbors, 64):
        hood = points[some]
        hood = hood - hood.mean(1, keepdim=True)
        inner = hood @ hood.mT if hood.shape[1] <= hood.shape[2] else hood.mT @ hood
        values = torch.linalg.eigvalsh(inner)
        counts.append((values > share * values[:, -1:]).sum(1))
    return torch.cat(counts).double()


def measure_intrinsic(values: Shaped[Tensor, "n ..."], *, neighbors: int = NEIGHBORS) -> dict[str, Value]:
    """The three estimates, each with an interval over points (jackknife over 20 groups of points).

    Args:
        values: releases or layer outputs, shape (n, ...), any real type; repeated points count once.
        neighbors: of the maximum likelihood estimate and of local PCA.

    Returns:
        Values by the names `two_nn`, `mle`, `local_pca`.

    Raises:
        NotApplicableError: fewer than 20 different points, or numbers that are not finite.
    """
    points = values.reshape(len(values), -1)
    points = points[torch.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).round().long()]
    points = torch.unique(points, dim=0)
    if len(points) >= _FEWEST and points.shape[1] > len(points):
        # The same distances in as many coordinates as there are points.
        spread, axes = torch.linalg.eigh(inner_products(points))
        points = axes * spread.clamp_min(0).sqrt()
    points = points.double()
    if not bool(torch.isfinite(points).all()):
        raise NotApplicableError("the values hold NaN or infinite numbers")
    if len(points) < _FEWEST:
        raise NotApplicableError(f"{len(points)} different releases: too few for a dimension (at least {_FEWEST})")
    k = min(neighbors, len(points) - 1)
    distances, order = _nearest(points, k)
    if float(distances[:, 0].min()) <= 0:
        raise NotApplicableError("different releases lie too close together to tell their distances")
    ratios, inverses = distances[:, 1] / distances[:, 0], maximum_likelihood(distances)
    counts = local_pca(points, torch.cat([torch.arange(len(points), device=points.device)[:, None], order], 1))

    def estimates(kept: Tensor) -> list[float]:
        inverse = float(inverses[kept].mean())
        if inverse <= 0:
            raise NotApplicableError("every point has its neighbors at one distance")
        return [two_nn(ratios[kept]), 1 / inverse, float(counts[kept].mean())]

    found = jackknife(
        estimates(torch.arange(len(points))),
        estimates,
        len(points),
        groups=_GROUPS,
        unit="dimensions",
        methods=[
            "TwoNN, the largest tenth of the ratios left out",
            f"Levina-Bickel maximum likelihood, {k} neighbors, inverses averaged",
            f"local PCA, {k} neighbors, components above {LOCAL_SHARE:g} of the largest local variance",
        ],
    )
    return dict(zip(("two_nn", "mle", "local_pca"), found, strict=True))


def _nearest(points: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Distances to the k nearest other points, ascending, and their positions."""
    # Directly, not by inner products, which lose the small distances that matter here.
    whole = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    whole.fill_diagonal_(float("inf"))
    found = whole.topk(k, largest=False)
    return found.values, found.indices
