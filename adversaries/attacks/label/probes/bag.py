"""A probe on releases read as sets, whatever the order of their parts.

Axes: n rows, t tokens of one release, e values of one token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import (
    Basis,
    Columns,
    KernelName,
    ProbeAttack,
    Ridge,
    fit_best,
    leave_one_out_possible,
    spread,
    strongest,
)
from adversaries.learning.tokens import KINDS, Bag, Kind, named_slots, tokens
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_SCREEN, _POOL = 512, 2048


@ADVERSARIES.register("bag", goals=("task", "attribute"), order=242)
@dataclass(frozen=True, kw_only=True)
class BagOfParts(Adversary):
    """A kernel probe on which parts a release holds, in whatever order they stand.

    Knows: labelled releases; unlabelled ones for typical parts.
    Does: reads a release as a set of values, of pairs, or of patches of 2, 4 or 8 pixels; measures how near the parts
    come to typical ones (k-means), on average and at best; where one value of a pair names a place, lays the others
    out by it. Then ridge regression, linear or with a Gaussian kernel. What is a part, by leave-one-out inside the
    labelled rows; the largest patches, or single values, where classes have a single row.
    Source: Coates, Ng, Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011.

    Args:
        typical: typical parts.
    """

    level: ClassVar[Level] = "L2"

    typical: int = 128

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:
        """Fit; raises `NotApplicableError` for releases of a single value."""
        release, y = view.labelled
        ways = self.ways(view, generator)
        rows = spread(len(y), _SCREEN).to(y.device)
        chosen = len(ways) - 1
        if len(ways) > 1 and leave_one_out_possible(y[rows]):
            fits = [Ridge.fit(Basis.fit(way(release[rows])), y[rows], view.num_classes) for _, way in ways]
            chosen = strongest(fits)
        way = ways[chosen][1]
        x = way(release)
        middle = float(torch.cdist(x[:256], x[:256]).median()) or 1.0
        kernels: list[tuple[KernelName, float]] = [("linear", 1.0), ("rbf", 0.5 * middle), ("rbf", middle)]
        return ProbeAttack(features=way, ridge=fit_best(x, y, view.num_classes, kernels))

    def ways(self, view: Knowledge, generator: torch.Generator) -> list[tuple[Kind, Callable[[Tensor], Tensor]]]:
        """Every way to read a release as a set, as standardized columns.

        Args:
            view: the attacker's world.
            generator: draws the first typical parts.

        Raises:
            NotApplicableError: there is none.
        """
        pool = view.unlabelled
        pool = pool[spread(len(pool), _POOL).to(pool.device)]
        found: list[tuple[Kind, Callable[[Tensor], Tensor]]] = []
        for kind in KINDS:
            parts = tokens(pool, kind)
            if parts is None:
                continue
            found.append((kind, _columns(kind, Bag.fit(parts, self.typical, generator), pool)))
            laid_out = named_slots(parts)
            if laid_out is not None:
                found.append((kind, _columns(kind, laid_out, pool)))
        if not found:
            raise NotApplicableError("a release has a single value, so it is no set of parts")
        return found


def _columns(kind: Kind, read: Callable[[Tensor], Tensor], pool: Tensor) -> Callable[[Tensor], Tensor]:
    def raw(rows: Tensor) -> Tensor:
        parts = tokens(rows, kind)
        if parts is None:
            raise ValueError("expected releases of the shape that typical parts were found in")
        return read(parts)

    scale = Columns.fit(raw(pool))
    return lambda rows: scale(raw(rows)).clamp(-10, 10)
