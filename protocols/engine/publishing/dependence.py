"""Does a release depend on the call in which it was published?

Axes: c calls, n images, d numbers of one release.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from adversaries.health import LEVEL
from adversaries.learning.kernels import Basis, Columns, Ridge, flat
from adversaries.statistics.special import betainc, ndtri, stdtrit

APART = 1e-3
"""Share of their scale by which deterministic releases must differ; sums in another order differ by less."""

ROUNDING = 1e-5
"""Share of the largest number of a release below which a difference is one of rounding."""


def differs(mixed: Shaped[Tensor, "n ..."], alone: Shaped[Tensor, "n ..."]) -> bool:
    """Whether deterministic releases of the same images differ between mixed calls and calls of one image each.

    Each number is measured by the scale of its own column, so that a large column hides no small one.
    """
    one, other = (values.double().nan_to_num(posinf=0, neginf=0).reshape(len(values), -1) for values in (mixed, alone))
    scale = torch.maximum(one.abs(), other.abs()).amax(0)
    smallest = ROUNDING * scale.max()
    return bool(((one - other).abs() > torch.maximum(APART * scale, smallest)).any())


def varies(calls: Shaped[Tensor, "c n ..."]) -> bool:
    """Whether stochastic releases of the same images have something in common within each call.

    Every column is an analysis of variance with images and calls as factors: how much the calls' means vary against
    the variation that is left, by an F-test at `LEVEL` / d. Few images may carry most of the noise (a pixel that is
    dark in most of them), so the degrees of freedom of what is left count as many images as share the variance evenly.

    Source: Box 1954, Some theorems on quadratic forms applied in the study of analysis of variance problems, Annals of
        Mathematical Statistics 25 (effective degrees of freedom).
    """
    values = calls.double().reshape(*calls.shape[:2], -1)
    values = values[:, torch.isfinite(values).all(2).all(0)]
    c, n, d = values.shape
    if min(n - 1, c - 1, d) < 1:
        return False
    smallest = ROUNDING * float(values.abs().max())
    centered = values - values.mean(0)
    of_call = centered.mean(1)
    left = centered - of_call[:, None]
    between = (n * of_call.square().sum(0) / (c - 1)).numpy()
    within = (left.square().sum((0, 1)) / ((c - 1) * (n - 1))).numpy()
    each = (centered.square().sum(0) / (c - 1)).numpy()
    carriers = each.sum(0) ** 2 / np.maximum((each**2).sum(0), np.finfo(float).tiny)
    seen = (of_call.abs().amax(0).numpy() > smallest) & (carriers > 1 + 1e-9)
    freedom = (c - 1) * (carriers[seen] - 1)
    # The upper tail of F with (c - 1, freedom) degrees of freedom, which is 0 where nothing is left within.
    tail = freedom * within[seen] / (freedom * within[seen] + (c - 1) * between[seen])
    chance = betainc(freedom / 2, np.full(len(tail), (c - 1) / 2), tail)
    return bool((chance < LEVEL / d).any())


def reads_otherwise(
    mixed: Sequence[Shaped[Tensor, "n ..."]], alone: Shaped[Tensor, "n ..."], labels: Int64[Tensor, " n"], classes: int
) -> bool:
    """Whether a linear reader of stochastic releases from calls of one image differs from readers of mixed calls.

    Each is graded where it was fitted, by leaving rows out, and all on one further mixed call. What is fitted alone
    must lie outside of the spread of those fitted on mixed calls (Student's t), and by more than luck with n rows
    allows, both at `LEVEL` / 2.

    Args:
        mixed: releases of the same images in several calls.
        alone: their releases in calls of one image each.
        labels: of the images.
        classes: number of classes.
    """
    *others, last = mixed
    fits = [_Reader(values, labels, classes) for values in (*others, alone)]
    at_home = np.array([fit.left_out for fit in fits])
    elsewhere = np.array([fit.hits(last, labels) for fit in fits])
    return any(_stands_apart(rates[:-1], rates[-1], len(labels)) for rates in (at_home, elsewhere))


class _Reader:
    """A ridge regression on the columns of releases."""

    def __init__(self, values: Tensor, labels: Tensor, classes: int) -> None:
        rows = flat(values)
        self.columns = Columns.fit(rows)
        self.ridge = Ridge.fit(Basis.fit(self.columns(rows)), labels, classes)

    @property
    def left_out(self) -> float:
        """Accuracy on rows that were left out."""
        return self.ridge.left_out

    def hits(self, values: Tensor, labels: Tensor) -> float:
        """Accuracy on other releases."""
        return float((self.ridge.scores(self.columns(flat(values))).argmax(1) == labels).double().mean())


def _stands_apart(group: np.ndarray, single: float, rows: int) -> bool:
    """Whether a rate of so many rows is none of a group's."""
    level, count, mean = LEVEL / 4, len(group), float(group.mean())  # two rates, two sides
    apart = abs(single - mean)
    spread = float(group.std(ddof=1)) * float(np.sqrt(1 + 1 / count))
    middle = (single + mean) / 2
    luck = float(np.sqrt(2 * middle * (1 - middle) / rows))
    return apart > float(stdtrit(count - 1, 1 - level)) * spread and apart > float(ndtri(1 - level)) * luck
