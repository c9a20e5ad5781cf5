"""Probes on the order of the values of one release.

Axes: n rows, d columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Basis, KernelName, ProbeAttack, Ridge, flat, spread, strongest
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_SCREEN = 1024


def _ranks(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Which place every value takes in its row, from -1 to 1; equal values share the middle of theirs."""
    ordered = x.sort(1).values.contiguous()
    below = torch.searchsorted(ordered, x.contiguous(), right=False)
    above = torch.searchsorted(ordered, x.contiguous(), right=True)
    return (below + above - 1).float() / max(1, x.shape[1] - 1) - 1


def _one_hot(position: Tensor, d: int) -> Tensor:
    return torch.nn.functional.one_hot(position, d).float()


def _largest(x: Tensor) -> Tensor:
    return _one_hot(x.argmax(1), x.shape[1])


def _smallest(x: Tensor) -> Tensor:
    return _one_hot(x.argmin(1), x.shape[1])


def _farthest(x: Tensor) -> Tensor:
    return _one_hot(x.abs().argmax(1), x.shape[1])


def _first_few(x: Tensor) -> Tensor:
    """Which columns hold the largest tenth of the values."""
    top = x.topk(max(1, x.shape[1] // 10), dim=1).indices
    return torch.zeros_like(x).scatter_(1, top, 1.0)


_VIEWS: tuple[tuple[Callable[[Tensor], Tensor], KernelName], ...] = (
    (_ranks, "linear"),
    (_ranks, "quadratic"),
    (_largest, "linear"),
    (_smallest, "linear"),
    (_farthest, "linear"),
    (_first_few, "linear"),
)


@ADVERSARIES.register("ranks", goals=("task", "attribute"), order=298)
@dataclass(frozen=True, kw_only=True)
class Ranks(Adversary):
    """A probe on which value of a release is the largest, the smallest, and which place every value takes.

    Knows: labelled releases.
    Does: ridge regression on one of six views (all places, with and without their products; where the largest, the
    smallest and the farthest from zero stand; which are the largest tenth), chosen by leave-one-out inside the
    labelled rows; all places when classes have a single row. No view depends on scale or offset of a row.

    Args:
        columns: of wider releases it looks at so many values, evenly among all.
    """

    level: ClassVar[Level] = "L2"

    columns: int = 2048

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness; raises `NotApplicableError` for releases of a single value."""
        release, y = view.labelled
        x = flat(release)
        if x.shape[1] < 2:
            raise NotApplicableError("a release has a single value, so there is no order among its values")
        places = spread(x.shape[1], self.columns).to(x.device)
        some = spread(len(y), _SCREEN).to(x.device)
        shown = x[some][:, places]
        fits = [Ridge.fit(Basis.fit(look(shown), kernel), y[some], view.num_classes) for look, kernel in _VIEWS]
        look, kernel = _VIEWS[strongest(fits)]

        def chosen(rows: Tensor) -> Tensor:
            return look(flat(rows)[:, places])

        return ProbeAttack(features=chosen, ridge=Ridge.fit(Basis.fit(chosen(release), kernel), y, view.num_classes))
