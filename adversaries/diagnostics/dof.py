"""Degrees of freedom: in how many independent directions releases (or the outputs of a layer) vary over images.

Four estimators over the eigenvalues l of their covariance. They disagree, so all four are reported, with their
agreement. Axes: n images, p values of a release, r eigenvalues.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.diagnostics.jackknife import jackknife
from adversaries.diagnostics.spectrum import effective_rank, gram
from adversaries.evidence import Value
from vfc.errors import NotApplicableError

RIDGE = 1e-2
"""a of the ridge estimator, as a share of the largest eigenvalue."""

SHARE = 0.99
"""Share of the variance that the counted principal components hold."""

NAMES = ("effective", "participation", "ridge", "pca99")

_GROUPS = 20
_PORTION = 2**24


@dataclass(frozen=True, kw_only=True)
class DegreesOfFreedom:
    """Four answers to the same question; all 0 for a release that never varies.

    Args:
        effective: exp of the entropy of l / sum(l).
        participation: sum(l)^2 / sum(l^2).
        ridge: sum(l / (l + a)), with a a share of the largest l.
        pca99: the fewest principal components that hold 99 % of the variance.
    """

    effective: float
    participation: float
    ridge: float
    pca99: float

    @property
    def agreement(self) -> float:
        """The smallest of the four / the largest: 1 when they agree; 1 too where all are 0."""
        each = [getattr(self, field.name) for field in fields(self)]
        return min(each) / max(each) if max(each) > 0 else 1.0


def degrees_of_freedom(eigenvalues: Float[Tensor, " r"], *, ridge: float = RIDGE) -> DegreesOfFreedom:
    """All four estimators.

    Args:
        eigenvalues: of a covariance or of E[J'J], in any order; negative ones, of rounding, count as zero.
        ridge: a as a share of the largest eigenvalue, above 0.

    Source: the question from Huang, Huang, Meng, 2024, arXiv 2412.00696, which gives no formulas; effective: Roy,
    Vetterli, EUSIPCO 2007; ridge: Hastie, Tibshirani, Friedman, The elements of statistical learning, 2009, 3.4.1.
    """
    values = eigenvalues.double().clamp_min(0).sort(descending=True).values
    if not bool(torch.isfinite(values).all()):
        raise NotApplicableError("the values are not finite, so they have no covariance")
    total = values.sum()
    if len(values) == 0 or float(total) <= 0:
        return DegreesOfFreedom(effective=0.0, participation=0.0, ridge=0.0, pca99=0.0)
    held = torch.cumsum(values, 0) / total
    return DegreesOfFreedom(
        effective=effective_rank(values),
        participation=float(total**2 / values.square().sum()),
        ridge=float((values / (values + ridge * values[0])).sum()),
        # Rounding must not ask for a component more than there are.
        pca99=float(min(int((held < SHARE * (1 - 1e-12)).sum()) + 1, len(values))),
    )


def covariance_eigenvalues(values: Shaped[Tensor, "n ..."]) -> Float[Tensor, " r"]:
    """Eigenvalues of the covariance over the rows, as many as the smaller of n and p; divided by n - 1.

    Raises:
        NotApplicableError: fewer than two rows, or numbers that are not finite.
    """
    if len(values) < 2:
        raise NotApplicableError(f"{len(values)} releases have no covariance")
    rows = values.reshape(len(values), -1)
    if len(rows) <= rows.shape[1]:
        square = inner_products(rows)
    else:
        wide = rows.double()
        square = gram(wide - wide.mean(0))
    return _eigenvalues(square, len(rows))


def inner_products(rows: Shaped[Tensor, "n p"]) -> Float[Tensor, "n n"]:
    """Inner products of the rows, less their mean, in float64; a few columns at a time.

    Raises:
        NotApplicableError: numbers that are not finite.
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for columns in torch.split(rows, max(1, _PORTION // len(rows)), dim=1):
        wide = columns.double()
        wide = wide - wide.mean(0)
        total.addmm_(wide, wide.T)
    if not bool(torch.isfinite(total).all()):
        raise NotApplicableError("the values hold NaN or infinite numbers")
    return total


def _eigenvalues(square: Tensor, count: int) -> Tensor:
    if not bool(torch.isfinite(square).all()):
        raise NotApplicableError("the values hold NaN or infinite numbers")
    eigenvalues: Tensor = torch.linalg.eigvalsh(square)
    return eigenvalues.clamp_min(0) / (count - 1)


def measure_dof(values: Shaped[Tensor, "n ..."], *, ridge: float = RIDGE) -> tuple[dict[str, Value], DegreesOfFreedom]:
    """The four estimators with intervals over images (jackknife over 20 groups of images).

    Fewer images than directions hide some: the estimates are of what these n images show, at most n - 1.

    Args:
        values: releases or layer outputs, shape (n, ...), any real type.
        ridge: a of the ridge estimator, as a share of the largest eigenvalue.

    Returns:
        Values by the names `effective`, `participation`, `ridge`, `pca99`, and the plain numbers.

    Raises:
        NotApplicableError: too few rows, or numbers that are not finite.
    """
    if len(values) < 2:
        raise NotApplicableError(f"{len(values)} releases have no covariance")
    rows = values.reshape(len(values), -1)
    # Every group is left out of the same inner products, which are formed once.
    inner = inner_products(rows) if len(rows) <= rows.shape[1] else None
    eigenvalues = covariance_eigenvalues(rows) if inner is None else _eigenvalues(inner, len(rows))
    whole = degrees_of_freedom(eigenvalues, ridge=ridge)

    def without(kept: Tensor) -> list[float]:
        if inner is None:
            part_values = covariance_eigenvalues(rows[kept])
        else:
            part = inner[kept][:, kept]
            centered = part - part.mean(0) - part.mean(1, keepdim=True) + part.mean()
            part_values = _eigenvalues(centered, len(kept))
        found = degrees_of_freedom(part_values, ridge=ridge)
        return [getattr(found, name) for name in NAMES]

    methods = (
        "exp of the entropy of the covariance's eigenvalues",
        "participation ratio of the covariance's eigenvalues",
        f"sum l / (l + {ridge:g} of the largest l) over the covariance's eigenvalues",
        "principal components that hold 99 % of the variance",
    )
    found = jackknife(
        [getattr(whole, name) for name in NAMES],
        without,
        len(values),
        groups=_GROUPS,
        unit="dimensions",
        methods=methods,
    )
    return dict(zip(NAMES, found, strict=True)), whole
