"""Probes on the bits of integer codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import ProbeAttack, as_float, spread, wide
from adversaries.learning.planes import fit_planes
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_STEPS = (1.0, 1 / 255, 1 / 65535, *(2.0**-power for power in range(1, 17)))
_MOST = 2.0**24


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A lattice of values.

    Args:
        step: distance of neighbors; None for integers as they are.
        low: the smallest code.
        count: how many bits the codes of the pool need.
    """

    step: float | None
    low: int
    count: int

    def codes(self, release: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
        """Non-negative integer codes."""
        return _raw(release, self.step) - self.low


def _raw(release: Tensor, step: float | None) -> Tensor:
    rows = release.reshape(len(release), -1)
    return rows.to(torch.int64) if step is None else (as_float(rows).to(wide(rows.device)) / step).round().long()


def find_grid(release: Shaped[Tensor, "n ..."]) -> Grid:
    """The coarsest grid on which all values lie.

    Steps tried: 1, 1/2, 1/4, ..., 1/255, 1/65535, and the smallest distance between two values (a quantizer's own).

    Raises:
        NotApplicableError: there is none.
    """
    if not release.is_floating_point():
        step: float | None = None
    else:
        values = as_float(release).flatten()
        step = next((s for s in _candidates(values) if _on_grid(values, s)), -1.0)
        if step == -1.0:
            raise NotApplicableError("the values lie on no grid, so there are no integer codes")
    codes = _raw(release, step)
    low = min(0, int(codes.min()))
    return Grid(step=step, low=low, count=max(1, (int(codes.max()) - low).bit_length()))


def _candidates(values: Float[Tensor, " m"]) -> list[float]:
    some = values[spread(len(values), 100_000).to(values.device)].to(wide(values.device)).sort().values
    gaps = some.diff()
    gaps = gaps[gaps > 0]
    own = [float(gaps.min())] if 0 < len(gaps) < 65_536 else []
    return sorted({*_STEPS, *own}, reverse=True)


def _on_grid(values: Float[Tensor, " m"], step: float) -> bool:
    """Whether all values are multiples of a step, up to the rounding of float32."""
    largest = float(values.abs().max())
    if largest / step > _MOST or largest == 0:
        return False
    for block in torch.split(values, 1_000_000):
        scaled = block.to(wide(values.device)) / step
        allowed = 1e-3 + scaled.abs() * 3e-7
        if largest / step * 3e-7 > 0.1 or bool(((scaled - scaled.round()).abs() > allowed).any()):
            return False
    return True


@ADVERSARIES.register("integer-codes", goals=("task", "attribute"), order=260)
@dataclass(frozen=True, kw_only=True)
class IntegerCodes(Adversary):
    """A linear probe on the bits of integer codes, each plane alone and all together.

    Knows: labelled releases; unlabelled ones to find the grid.
    Does: where values are integers, or all multiples of one step (1/255 for instance), writes them as integers, skips
    constant bit planes, and lets leave-one-out inside the labelled rows choose one plane or all of them.

    Args:
        screen: planes are compared on at most so many labelled rows.
    """

    level: ClassVar[Level] = "L2"

    screen: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; raises `NotApplicableError` for values on no grid."""
        release, y = view.labelled
        grid = find_grid(view.unlabelled)
        return fit_planes(grid.codes, grid.count, release, y, view.num_classes, screen=self.screen)
