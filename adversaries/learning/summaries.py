"""Summaries of one release that no single value shows: counts and their residues, extremes and where they stand.

Axes: n rows, d values of one release, f summaries.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.learning.kernels import flat, wide

MODULI = tuple(range(2, 17))
"""By which counts and codes are divided for their remainder."""

_TINY = 1e-30


def counts(x: Float[Tensor, "n d"]) -> Int[Tensor, "n f"]:
    """How many values of every row are zero, negative, positive, integer, above the row's mean, and changes of sign."""
    sign = x.sign()
    columns = [
        x == 0,
        x < 0,
        x > 0,
        x == x.round(),
        x > x.mean(1, keepdim=True),
    ]
    changes = (sign[:, 1:] != sign[:, :-1]).sum(1)
    return torch.stack([*[column.sum(1) for column in columns], changes], dim=1)


def extremes(x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
    """Positions of the largest, smallest and farthest value, and of the largest step between neighbors."""
    steps = x.diff(dim=1).abs() if x.shape[1] > 1 else x
    return torch.stack([x.argmax(1), x.argmin(1), x.abs().argmax(1), steps.argmax(1)], dim=1).float()


def norms(x: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
    """Logarithms of norms, and the shape of the distribution of values."""
    exact = x.to(wide(x.device))
    mean = exact.mean(1, keepdim=True)
    deviation = (exact - mean).square().mean(1).sqrt()
    unit = (exact - mean) / deviation.clamp_min(_TINY)[:, None]
    sizes = [exact.abs().mean(1), exact.square().mean(1).sqrt(), exact.abs().amax(1), deviation]
    columns = [
        mean[:, 0],
        exact.amin(1),
        exact.amax(1),
        *[(size + _TINY).log() for size in sizes],
        unit.pow(3).mean(1),
        unit.pow(4).mean(1),
    ]
    return torch.stack(columns, dim=1).nan_to_num().float()


def summaries(release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n f"]:
    """Norms, positions of extremes, counts, and residues of counts, side by side."""
    x = flat(release)
    found = counts(x)
    residues = [(found % modulus).float() for modulus in MODULI]
    return torch.cat([norms(x), extremes(x), found.float(), *residues], dim=1)
