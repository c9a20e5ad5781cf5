"""Probes on the bits of integers: which plane, or all of them together, tells most.

Axes: n rows, d columns, p bit planes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.learning.kernels import Basis, ProbeAttack, Ridge, leave_one_out_possible, spread, strongest


def fit_planes(
    words: Callable[[Tensor], Int[Tensor, "n d"]],
    count: int,
    release: Shaped[Tensor, "n ..."],
    y: Int[Tensor, " n"],
    classes: int,
    *,
    screen: int,
) -> ProbeAttack:
    """Try every bit plane alone and all together; leave-one-out inside the labelled rows decides.

    Args:
        words: releases to integers.
        count: how many low bits those have.
        release: labelled releases.
        y: their labels.
        classes: number of classes.
        screen: planes are compared on at most so many rows, and the winner is fitted on all of them.
    """
    codes = words(release)
    rows = spread(len(y), screen).to(codes.device)
    shown, known = codes[rows], y[rows]
    alive = [plane for plane in range(count) if bool(_varies((shown >> plane) & 1).any())]
    choice = alive or [0]
    if leave_one_out_possible(known) and len(alive) > 1:
        options = [*([plane] for plane in alive), choice]
        fits = [Ridge.fit(Basis.fit(_bits(shown, option), "linear"), known, classes) for option in options]
        choice = options[strongest(fits)]
    basis = Basis.fit(codes, "linear", features=lambda some: _bits(some, choice))
    return ProbeAttack(features=words, ridge=Ridge.fit(basis, y, classes))


def _varies(columns: Tensor) -> Tensor:
    return (columns != columns[:1]).any(0)


def _bits(codes: Int[Tensor, "n d"], planes: Sequence[int]) -> Float[Tensor, "n pd"]:
    """Bits as -1 and 1, the planes side by side."""
    return torch.cat([((codes >> plane) & 1).float() * 2 - 1 for plane in planes], dim=1)
