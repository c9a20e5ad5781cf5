"""Columns whose values lie on a lattice, found one by one, so that neither an outlier nor another column hides it.

Axes: n rows, d columns, g columns that lie on a grid, s steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from adversaries.learning.kernels import spread, wide
from vfc.errors import NotApplicableError

ALMOST_ALL = 0.99
"""Share of a column's values that must lie on its grid; the rest is rounded."""

_STEPS = (1 / 255, 1 / 65535, *(2.0**-power for power in range(1, 17)))
_GAPS = (0.0, 0.02, 0.1, 0.5)
_ROWS, _WHOLE, _LARGEST = 2048, 2.0**53, 2.0**62
_FEW, _PERHAPS = 64, 0.5
_NEAR, _ROUNDING, _COARSE, _ALIKE = 0.02, 3e-7, 0.1, 1e-3


@dataclass(frozen=True, kw_only=True)
class Grids:
    """Columns on grids, and how their values become whole numbers.

    Args:
        columns: which columns lie on one.
        step: distance of neighbors, of every such column.
        origin: the value that becomes 0, of every such column.
        alike: whether a column has the step that most have, so that its codes may be added to theirs.
        exact: whether all values of all columns lie on grids, and not only almost all.
    """

    columns: Int[Tensor, " g"]
    step: Float[Tensor, " g"]
    origin: Float[Tensor, " g"]
    alike: Bool[Tensor, " g"]
    exact: bool

    @classmethod
    def fit(cls, pool: Shaped[Tensor, "n d"]) -> Grids:
        """Find the grid of every column.

        A column of whole numbers stays what it is. Other steps tried: 1/2, 1/4, ..., 1/255, 1/65535, and distances
        between neighboring values of the column. Of those the coarsest, or the one that most columns have. Values count
        from 0 where they are multiples of a step, and from the smallest otherwise.

        Raises:
            NotApplicableError: no column that varies lies on any.
        """
        values = _finite(pool[spread(len(pool), _ROWS).to(pool.device)])
        origin, step = torch.zeros_like(values[0]), torch.ones_like(values[0])
        if pool.is_floating_point():
            step = _steps(values)
            off = torch.isnan(step)
            middle = values[:, off].median(0).values
            step[off] = _steps(values[:, off] - middle)
            origin[off] = middle + _lowest(values[:, off] - middle, step[off])
        columns = torch.nonzero(~torch.isnan(step)).flatten()
        step, origin, shown = step[columns], origin[columns], values[:, columns]
        if pool.is_floating_point() and not bool((shown != shown[:1]).any()):
            raise NotApplicableError("the values lie on no grid, so there are no integer codes")
        exact = len(columns) == values.shape[1] and bool((_share(shown - origin, step) == 1).all())
        return cls(columns=columns, step=step, origin=origin, alike=_alike(step, _usual(step)), exact=exact)

    def __call__(self, release: Shaped[Tensor, "n d"]) -> Int[Tensor, "n g"]:
        """Whole numbers, of the columns that lie on a grid."""
        rows = release[:, self.columns]
        if not rows.is_floating_point():
            return rows.long()
        return ((_finite(rows) - self.origin) / self.step).round().clamp(-_LARGEST, _LARGEST).long()


def _finite(rows: Tensor) -> Tensor:
    return torch.nan_to_num(rows.to(wide(rows.device)), nan=0.0, posinf=0.0, neginf=0.0)


def _steps(values: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """The step of every column; NaN where there is none."""
    one = torch.ones_like(values[0])
    whole = _share(values, one) >= ALMOST_ALL
    step = torch.where(whole, one, torch.nan)
    for option in _options(values):
        # Few rows rule out most steps.
        if not bool((_share(values[:_FEW], option) >= _PERHAPS).any()):
            continue
        coarser = ~whole & ~(step * (1 + _ALIKE) >= option)
        step = torch.where(coarser & (_share(values, option) >= ALMOST_ALL), option, step)
    known = (values != values[:1]).any(0) & ~torch.isnan(step)
    if bool(known.any()):
        usual = _usual(step[known]).expand_as(step)
        step = torch.where(_share(values, usual) >= ALMOST_ALL, usual, step)
    return step


def _usual(step: Float[Tensor, " g"]) -> Float[Tensor, ""]:
    """The step that most columns have, up to rounding."""
    count = ((step - step[:, None]).abs() <= _ALIKE * step).sum(0)
    near = step[_alike(step, step[count.argmax()])]
    return near.max() if bool((near == near[0]).all()) else near.mean()


def _alike(step: Float[Tensor, " g"], one: Float[Tensor, ""]) -> Bool[Tensor, " g"]:
    return (step - one).abs() <= _ALIKE * one


def _options(values: Float[Tensor, "n d"]) -> Iterator[Float[Tensor, " d"]]:
    """Steps to try, each for all columns."""
    for step in _STEPS:
        yield torch.full_like(values[0], step)
    gaps = values.sort(0).values.diff(dim=0)
    gaps = torch.where(gaps > 0, gaps, torch.inf).sort(0).values
    count = (gaps < torch.inf).sum(0)
    if not bool((count > 0).any()):
        return
    for share in _GAPS:
        gap = gaps.gather(0, (share * (count - 1).clamp_min(0)).long()[None])[0]
        # The mean of all gaps of about this size, for a single one is the difference of two rounded numbers.
        alike = (gaps - gap).abs() < gap / 4
        mean = torch.where(alike, gaps, 0.0).sum(0) / alike.sum(0).clamp_min(1)
        yield torch.where(torch.isfinite(gap), mean, torch.nan)


def _near(values: Float[Tensor, "n d"], step: Float[Tensor, " d"]) -> Bool[Tensor, "n d"]:
    """Which values are multiples of their column's step, up to rounding."""
    scaled = values / step
    error = scaled.abs() * _ROUNDING
    near = ((scaled - scaled.round()).abs() <= _NEAR + error) & (error <= _COARSE)
    return torch.where(step == 1.0, (values == values.round()) & (values.abs() < _WHOLE), near)


def _lowest(values: Float[Tensor, "n d"], step: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """The smallest multiple of its step in every column that has one."""
    return torch.where(_near(values, step), (values / step).round() * step, torch.inf).amin(0)


def _share(values: Float[Tensor, "n d"], step: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """Share of every column's values, zeros left out, that are multiples of its step."""
    near = _near(values, step)
    counted = values != 0
    return torch.where(counted.any(0), (near & counted).sum(0) / counted.sum(0).clamp_min(1), 1.0)
