"""Intervals for statistics that no bootstrap can resample: repeated images would look like fewer directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from adversaries.evidence import Value


def jackknife(
    whole: Sequence[float],
    without: Callable[[Int[Tensor, " m"]], Sequence[float]],
    count: int,
    *,
    groups: int,
    unit: str,
    methods: Sequence[str],
) -> list[Value]:
    """Some statistics of all images with Student's t bounds from leaving out one group of images at a time.

    Args:
        whole: the statistics of all images.
        without: the same statistics of the images at some positions.
        count: how many images there are.
        groups: how many groups of equal size, at most `count`; image i is in group i mod groups.
        unit: of the statistics.
        methods: how each was computed, in words.

    Returns:
        Values that are never negative; without bounds, and a reason, for fewer than three images.

    Source: Efron, Stein, The jackknife estimate of variance, Ann. Statist. 9, 1981.
    """
    groups = min(groups, count)
    if groups < 3:
        reason = f"{count} images have no interval"
        return [
            Value(value=value, low=None, high=None, n=count, unit=unit, method=method, reason=reason)
            for value, method in zip(whole, methods, strict=True)
        ]
    from scipy import special

    positions = torch.arange(count)
    each = [without(positions[positions % groups != group]) for group in range(groups)]
    quantile = float(special.stdtrit(groups - 1, 0.95))
    values = []
    for i, (value, method) in enumerate(zip(whole, methods, strict=True)):
        column = [row[i] for row in each]
        center = sum(column) / groups
        error = math.sqrt((groups - 1) / groups * sum((number - center) ** 2 for number in column))
        values.append(
            Value(
                value=value,
                low=max(0.0, value - quantile * error),
                high=value + quantile * error,
                n=count,
                unit=unit,
                method=f"{method}; jackknife over {groups} groups of images",
            )
        )
    return values
