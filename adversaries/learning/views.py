"""Ways of looking at one release that do not depend on its own scale or offset, or on that of its columns.

Axes: n rows, d columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from adversaries.learning.kernels import Columns, spread, wide

View = Literal["common", "standard", "unit", "row", "logarithm", "quantile", "white"]
VIEWS: tuple[View, ...] = get_args(View)
"""One scale for all columns; every column standardized; every row of length 1; every row standardized; signed
logarithms about the row's own size; places among the values of a column; uncorrelated columns of equal spread."""

_FAR, _MOST_WHITE, _ROWS, _TINY = 30.0, 512, 4096, 1e-300
Look = Callable[[Tensor], Tensor]


def look_through(view: View, pool: Float[Tensor, "n d"]) -> Look | None:
    """Rows to rows of one view, fitted on unlabelled rows; None where the view means nothing.

    Args:
        view: which.
        pool: rows whose columns are measured; nothing is learned of a single row's label.
    """
    some = pool[spread(len(pool), _ROWS).to(pool.device)]
    if view == "unit":
        return _then_standard(_unit, some)
    if view == "row":
        return _then_standard(_row, some) if pool.shape[1] > 2 else None
    if view == "logarithm":
        return _then_standard(_logarithm, some)
    if view == "quantile":
        return _quantile(some)
    columns = Columns.fit(pool)
    if view == "standard":
        return lambda rows: columns(rows).clamp(-_FAR, _FAR)
    if view == "common":
        return _common(columns)
    return _white(columns, some)


def _common(columns: Columns) -> Look:
    spreads = columns.inverse[columns.inverse > 0]
    scale = spreads.amin() if len(spreads) else columns.inverse.new_ones(())
    return lambda rows: ((rows.to(columns.mean) - columns.mean) * scale).clamp(-_FAR, _FAR).float()


def _then_standard(look: Look, some: Tensor) -> Look:
    columns = Columns.fit(look(some))
    return lambda rows: columns(look(rows)).clamp(-_FAR, _FAR)


def _unit(rows: Tensor) -> Tensor:
    exact = rows.to(wide(rows.device))
    return (exact / exact.square().sum(1, keepdim=True).sqrt().clamp_min(_tiny(exact))).float()


def _row(rows: Tensor) -> Tensor:
    exact = rows.to(wide(rows.device))
    centered = exact - exact.mean(1, keepdim=True)
    return (centered / centered.square().mean(1, keepdim=True).sqrt().clamp_min(_tiny(exact))).float()


def _logarithm(rows: Tensor) -> Tensor:
    exact = rows.to(wide(rows.device))
    size = exact.abs()
    middle = size.sum(1, keepdim=True) / (size > 0).sum(1, keepdim=True).clamp_min(1)
    return (exact.sign() * (1 + 100 * size / middle.clamp_min(_tiny(exact))).log()).float()


def _tiny(exact: Tensor) -> float:
    return _TINY if exact.dtype == torch.float64 else 1e-30


def _quantile(some: Tensor) -> Look:
    ordered = some.T.sort(1).values.contiguous()

    def look(rows: Tensor) -> Tensor:
        values = rows.T.contiguous()
        place = torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)
        return (place.T.float() / ordered.shape[1] - 1) * 3**0.5

    return look


def _white(columns: Columns, some: Tensor) -> Look | None:
    if some.shape[1] > _MOST_WHITE or len(some) < 2 * some.shape[1]:
        return None
    z = columns(some).clamp(-_FAR, _FAR).to(wide(some.device))
    values, vectors = torch.linalg.eigh(z.T @ z / len(z))
    kept = values > 1e-9 * values[-1].clamp_min(1e-30)
    if not bool(kept.any()):
        return None
    turn = vectors[:, kept] / values[kept].sqrt()
    return lambda rows: (columns(rows).clamp(-_FAR, _FAR).to(turn) @ turn).float()
