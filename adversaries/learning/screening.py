"""Which columns tell something of a label, measured on labelled rows alone.

Axes: n rows, d columns, k classes, m and l rows of two halves, s columns that are kept.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from adversaries.learning.kernels import spread
from vfc.errors import NotApplicableError

BINS = 8
_ROWS, _MOST_CLASSES = 4096, 200
_MOST_COUNTS, _MOST_BINNED = 20_000_000, 8192


def require_several(y: Int[Tensor, " n"], classes: int, least: int = 4) -> None:
    """Refuse labels that columns cannot be compared by: too few of most classes, or too many classes.

    Args:
        y: the labels.
        classes: number of classes; of more than 200 the comparison would take too long.
        least: labels that most classes must have, for one half of them to screen on and the other to check on.

    Raises:
        NotApplicableError: they are refused.
    """
    counts = torch.bincount(y)
    if float(counts[counts > 0].double().median()) < least:
        raise NotApplicableError(f"it chooses among columns, for which it needs {least} labels of most classes")
    if classes > _MOST_CLASSES:
        raise NotApplicableError(f"it compares columns class by class, and {classes} classes are too many for that")


def halves(y: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " l"]]:
    """Two halves of the rows, both with every class: one to screen on, one to check on."""
    order = torch.argsort(y, stable=True)
    even = torch.arange(len(y), device=y.device) % 2 == 0
    return order[even], order[~even]


def between(x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int) -> Float[Tensor, " d"]:
    """Share of every column's variance that lies between classes, in [0, 1]; 0 for a constant column."""
    onehot = torch.nn.functional.one_hot(y, classes).to(x)
    centered = x - x.mean(0)
    count = onehot.sum(0)
    explained = ((onehot.T @ centered).square() / count.clamp_min(1)[:, None]).sum(0)
    return (explained / centered.square().sum(0).clamp_min(1e-12)).clamp(0, 1)


def binned(x: Float[Tensor, "n d"], bins: int = BINS) -> Integer[Tensor, "n d"]:
    """In which of some equally full bins every value of a column lies; equal values share one."""
    ordered = x.sort(0).values
    bucket = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
    for step in range(1, bins):
        bucket += (x > ordered[(step * len(x)) // bins]).to(torch.uint8)
    return bucket


def surprise(
    codes: Integer[Tensor, "n d"], y: Int[Tensor, " n"], classes: int, values: int = BINS
) -> Float[Tensor, " d"]:
    """How much more columns of few values tell of the label than chance would, in standard deviations.

    The likelihood-ratio statistic of the table of value and class, minus its mean and over its deviation where both
    are independent (chi-squared of so many degrees of freedom).

    Args:
        codes: values in [0, values).
        y: labels.
        classes: number of classes.
        values: number of values.
    """
    onehot = torch.nn.functional.one_hot(y, classes).float()
    size = max(1, _MOST_COUNTS // (classes * values))
    return torch.cat([_surprise(block, onehot, values) for block in torch.split(codes, size, dim=1)])


def _surprise(codes: Tensor, onehot: Tensor, values: int) -> Tensor:
    shown = onehot.sum(0)
    classes = int((shown > 0).sum())
    statistic = torch.zeros(codes.shape[1], device=codes.device)
    present = torch.zeros_like(statistic)
    for value in range(values):
        holds = (codes == value).float()
        observed, count = onehot.T @ holds, holds.sum(0)
        expected = shown[:, None] * count[None, :] / len(codes)
        statistic += 2 * torch.special.xlogy(observed, observed / expected.clamp_min(1e-12)).sum(0)
        present += (count > 0).float()
    freedom = (present - 1) * (classes - 1)
    found = (statistic - freedom) / (2 * freedom).clamp_min(1e-12).sqrt()
    return torch.where(freedom > 0, found, torch.full_like(found, -torch.inf))


def telling(
    x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int, count: int, *, rows: int = _ROWS
) -> Int[Tensor, " s"]:
    """Positions of the columns that tell most, in any way that eight bins show; at most `count`, in their order.

    Of more than 8,192 columns, those whose class means or class spreads differ most are compared.
    """
    some = spread(len(y), rows).to(x.device)
    shown, known = x[some], y[some]
    left = torch.arange(x.shape[1], device=x.device)
    if x.shape[1] > _MOST_BINNED:
        shares = []
        for block in torch.split(shown, 4096, dim=1):
            centered = block - block.mean(0)
            scale = centered.abs().amax(0).clamp_min(1e-30)
            first = between(centered / scale, known, classes)
            shares.append(torch.maximum(first, between((centered / scale).square(), known, classes)))
        left = torch.cat(shares).topk(_MOST_BINNED).indices.sort().values
    score = surprise(binned(shown[:, left]), known, classes)
    return left[score.topk(min(count, len(left))).indices.sort().values]
