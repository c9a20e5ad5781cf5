"""Probes on products of two and three signs or values.

Axes: n rows, d columns, k classes, q products of o factors each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Basis, Columns, KernelName, ProbeAttack, Ridge, flat, spread, strongest
from adversaries.learning.screening import halves, require_several
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_KERNELS: tuple[KernelName, ...] = ("linear", "rbf")
Form = Callable[[Tensor], Tensor]


class Found(NamedTuple):
    """Products that tell something: their factors and how large a share of their variance lies between classes."""

    factors: Int[Tensor, "q o"]
    share: Float[Tensor, " q"]


@ADVERSARIES.register("products", goals=("task", "attribute"), order=296)
@dataclass(frozen=True, kw_only=True)
class Products(Adversary):
    """A probe on the products of two and three signs or values that vary most with the label.

    Knows: labelled releases; unlabelled ones for the scale and the median of every column.
    Does: takes values as signs, as sides of the column's median, and as standardized numbers. An interaction leaves no
    trace in any single column, so products are screened and not columns: all pairs and triples of up to `columns`
    columns; of more, those of several random subsets of as many. What is screened on one half of the labelled rows is
    compared by leave-one-out on the other half: kind, number of products, and whether a linear or a Gaussian kernel
    reads them. The best kind is screened again on all rows.

    Args:
        columns: all pairs and triples among so many columns are looked at.
        subsets: random subsets of columns, where there are more.
        products: how many products are kept.
        rows: labelled rows that products are screened on, at most.
    """

    level: ClassVar[Level] = "L2"

    columns: int = 64
    subsets: int = 8
    products: int = 48
    rows: int = 2048

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:
        """Screen, compare and fit; raises `NotApplicableError` for few labels of a class or a single column."""
        release, y = view.labelled
        require_several(y, view.num_classes)
        pool = flat(view.unlabelled)
        varies = torch.nonzero((pool != pool[:1]).any(0)).flatten()
        if len(varies) < 2:
            raise NotApplicableError("fewer than two columns vary, so there are no products of two")
        subsets = self._subsets(varies, generator)
        x, forms = flat(release), _forms(pool)
        some = spread(len(y), self.rows).to(y.device)
        first, second = (some[half] for half in halves(y[some]))
        # Two columns have no product of three.
        orders = (2, 3) if all(len(columns) > 2 for columns in subsets) else (2,)
        options: list[tuple[Form, int, int, KernelName]] = []
        fits = []
        for form in forms:
            for order in orders:
                factors = self._screened(form, x[first], y[first], order, subsets, view.num_classes)
                products = _multiplied(form, x[second], factors)
                for count in self._counts:
                    for kernel in _KERNELS:
                        options.append((form, order, count, kernel))
                        basis = _basis(products[:, :count], kernel)
                        fits.append(Ridge.fit(basis, y[second], view.num_classes))
        form, order, count, kernel = options[strongest(fits)]
        factors = self._screened(form, x[some], y[some], order, subsets, view.num_classes)[:count]

        def features(rows: Tensor) -> Tensor:
            return _multiplied(form, flat(rows), factors)

        ridge = Ridge.fit(_basis(features(release), kernel), y, view.num_classes)
        return ProbeAttack(features=features, ridge=ridge)

    @property
    def _counts(self) -> tuple[int, ...]:
        """How many of the best products are tried together."""
        return (4, 12, self.products)

    def _subsets(self, varies: Int[Tensor, " d"], generator: torch.Generator) -> list[Int[Tensor, " s"]]:
        """Columns whose products are looked at together."""
        if len(varies) <= self.columns:
            return [varies]
        drawn = [torch.randperm(len(varies), generator=generator)[: self.columns] for _ in range(self.subsets)]
        return [varies[rows.to(varies.device)].sort().values for rows in drawn]

    def _screened(
        self, form: Form, x: Tensor, y: Tensor, order: int, subsets: list[Tensor], classes: int
    ) -> Int[Tensor, "q o"]:
        """The products of one kind that vary most with the label, over all subsets of columns."""
        z = form(x)
        found = [
            Found(factors=columns[one.factors], share=one.share)
            for columns in subsets
            for one in _ranked(z[:, columns], y, order, classes, self.products)
        ]
        share, factors = torch.cat([one.share for one in found]), torch.cat([one.factors for one in found])
        ranked = factors[share.topk(min(len(share), 2 * self.products)).indices]
        # Random subsets overlap, so a product may have been found twice.
        new = torch.tensor([not bool((ranked[:at] == row).all(1).any()) for at, row in enumerate(ranked)])
        return ranked[new.to(ranked.device)][: self.products]


def _basis(products: Float[Tensor, "n q"], kernel: KernelName) -> Basis:
    """Products as they are, or all their combinations by a Gaussian kernel as wide as they are many."""
    return Basis.fit(products, kernel, products.shape[1] ** 0.5)


def _forms(pool: Float[Tensor, "n d"]) -> list[Form]:
    """Sides of the median, signs if both occur, and standardized values."""
    middle, scale = pool.median(0).values, Columns.fit(pool)

    def sides(x: Tensor) -> Tensor:
        return torch.where(x > middle, 1.0, -1.0)

    def values(x: Tensor) -> Tensor:
        return scale(x).clamp(-5, 5)

    return [torch.sign, sides, values] if bool((pool < 0).any()) else [sides, values]


def _multiplied(form: Form, x: Float[Tensor, "n d"], factors: Int[Tensor, "q o"]) -> Float[Tensor, "n q"]:
    return form(x)[:, factors].prod(2)


def _ranked(x: Float[Tensor, "n d"], y: Int[Tensor, " n"], order: int, classes: int, count: int) -> Iterator[Found]:
    """The best products of every first factor (of all first factors, for pairs), each factor after the one before."""
    groups = [x[y == value] for value in range(classes)]
    groups = [rows for rows in groups if len(rows)]
    d = x.shape[1]
    if order == 2:
        yield _best(_share(groups, None), d, count, None)
        return
    for first in range(d - 2):
        yield _best(_share([rows * rows[:, first, None] for rows in groups], groups), d, count, first)


def _share(left: list[Tensor], right: list[Tensor] | None) -> Float[Tensor, "d d"]:
    """Share of variance between classes of the product of every column of `left` with every one of `right`."""
    total = sum(len(rows) for rows in left)
    mean = square = between = torch.zeros((), device=left[0].device)
    for one, other in zip(left, left if right is None else right, strict=True):
        summed = one.T @ other
        mean = mean + summed / total
        between = between + summed.square() / (len(one) * total)
        square = square + one.square().T @ other.square() / total
    return ((between - mean.square()) / (square - mean.square()).clamp_min(1e-6)).nan_to_num()


def _best(share: Float[Tensor, "d d"], d: int, count: int, first: int | None) -> Found:
    """The best entries above the diagonal, and behind the first factor."""
    start = 0 if first is None else first + 1
    upper = torch.triu_indices(d - start, d - start, 1, device=share.device) + start
    values = share[upper[0], upper[1]]
    top = values.topk(min(count if first is None else max(4, count // 8), len(values)))
    chosen = upper[:, top.indices].T
    if first is not None:
        chosen = torch.cat([torch.full((len(chosen), 1), first, device=chosen.device), chosen], dim=1)
    return Found(factors=chosen, share=top.values)
