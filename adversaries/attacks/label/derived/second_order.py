"""Probes on products of two values.

Axes: n rows, d columns, q products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Basis, Columns, ProbeAttack, Ridge, flat, leave_one_out_possible
from adversaries.threat import Level


@ADVERSARIES.register("second-order", goals=("task", "attribute"), order=290)
@dataclass(frozen=True, kw_only=True)
class SecondOrder(Adversary):
    """A probe on products of two values: all of them by a quadratic kernel, or the few that vary with the label.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: ridge regression with the kernel <a, b>^2, which sees every pairwise product at once, or on the products
    whose class means differ most. Those are screened on one half of the labelled rows and compared with the kernel by
    leave-one-out on the other half, then screened on all rows.

    Args:
        products: how many products are kept.
        columns: with more columns than this, the products are those of the columns that vary most.
    """

    level: ClassVar[Level] = "L2"

    products: int = 64
    columns: int = 512

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness."""
        release, y = view.labelled
        pool = flat(view.unlabelled)
        scale = Columns.fit(pool)

        def features(rows: Tensor) -> Tensor:
            return scale(flat(rows)).clamp(-10, 10)

        x = features(release)
        kept = _most_varied(scale, self.columns)
        if leave_one_out_possible(y) and len(y) >= 8:
            half = torch.arange(len(y), device=y.device) % 2 == 0
            # Class by class, so that both halves hold every class.
            order = torch.argsort(y, stable=True)
            first, second = order[half], order[~half]
            pairs = _screen(x[first][:, kept], y[first], view.num_classes, self.products)
            few = Ridge.fit(Basis.fit(_products(x[second][:, kept], pairs)), y[second], view.num_classes)
            every = Ridge.fit(Basis.fit(x[second], "quadratic"), y[second], view.num_classes)
            if few.left_out > every.left_out:
                pairs = _screen(x[:, kept], y, view.num_classes, self.products)
                chosen = _chosen(features, kept, pairs)
                return ProbeAttack(features=chosen, ridge=Ridge.fit(Basis.fit(chosen(release)), y, view.num_classes))
        return ProbeAttack(features=features, ridge=Ridge.fit(Basis.fit(x, "quadratic"), y, view.num_classes))


def _chosen(features: Callable[[Tensor], Tensor], kept: Tensor, pairs: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda rows: _products(features(rows)[:, kept], pairs)


def _most_varied(scale: Columns, count: int) -> Int[Tensor, " q"]:
    """Positions of the columns with the largest deviation, in their order; constant ones last."""
    deviation = torch.where(scale.inverse > 0, 1 / scale.inverse, -1.0)
    return deviation.topk(min(count, len(deviation))).indices.sort().values


def _screen(x: Float[Tensor, "n d"], y: Int[Tensor, " n"], classes: int, count: int) -> Int[Tensor, "q 2"]:
    """The products with the largest share of variance between classes."""
    n, d = x.shape
    square = x.square()
    mean = x.T @ x / n
    spread = (square.T @ square / n - mean.square()).clamp_min(1e-6)
    between = torch.zeros_like(mean)
    for value in range(classes):
        rows = x[y == value]
        if len(rows):
            between += len(rows) / n * (rows.T @ rows / len(rows) - mean).square()
    upper = torch.triu_indices(d, d, device=x.device)
    share = (between / spread)[upper[0], upper[1]]
    return upper[:, share.topk(min(count, len(share))).indices].T


def _products(x: Float[Tensor, "n d"], pairs: Int[Tensor, "q 2"]) -> Float[Tensor, "n q"]:
    return x[:, pairs[:, 0]] * x[:, pairs[:, 1]]
