"""Does a release depend on the call in which it was published?

Axes: c calls, n images, d numbers of one release.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from adversaries.health import LEVEL
from adversaries.statistics.special import betainc

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
