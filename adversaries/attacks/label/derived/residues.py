"""Probes on what is left when codes, counts, sums and differences are divided.

Axes: n rows, d columns, q series (one number a row each) and s of them that are kept, k classes, m modulus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int, Integer, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.grids import Grids
from adversaries.learning.kernels import Basis, ProbeAttack, Ridge, flat, spread, strongest
from adversaries.learning.screening import halves, require_several, surprise
from adversaries.learning.summaries import MODULI, counts
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_LARGE = (32, 64, 100, 128, 256, 1000)
"""Larger usual moduli, of whose remainders the upper part is read; the lower part is one of a smaller modulus."""

_VALUES, _KEPT, _BLOCK = MODULI[-1], 64, 8192
Operation = Callable[[Tensor, Tensor], Tensor]
_OPERATIONS: tuple[Operation, ...] = (torch.add, torch.sub, torch.bitwise_xor)


class Series(NamedTuple):
    """One number a row: a column, or two columns put together, and what it is divided by."""

    one: int
    other: int
    operation: int
    modulus: int


@ADVERSARIES.register("residues", goals=("task", "attribute"), order=297)
@dataclass(frozen=True, kw_only=True)
class Residues(Adversary):
    """A probe on remainders of codes, of counts, and of sums, differences and exclusive ors of two columns.

    Knows: labelled releases; unlabelled ones to find the grid of their values.
    Does: writes columns on a grid as integers, puts the numbers of zeros, signs and the like and the sum of all codes
    beside them, and divides each, and two columns put together, by 2 to 16 and by larger usual moduli. The remainders
    that tell most on one half of the labelled rows become columns of a ridge regression, one per remainder; how many
    of them is decided by leave-one-out on the other half. Columns on no grid enter by their counts alone.

    Args:
        columns: columns that are looked at one by one, at most: evenly among all.
        paired: columns of which every two are put together, at most: random ones where there are more.
        rows: labelled rows that remainders are screened on, at most.
    """

    level: ClassVar[Level] = "L2"

    columns: int = 1024
    paired: int = 24
    rows: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:
        """Screen and fit; raises `NotApplicableError` for few labels of a class, or where every number is constant."""
        release, y = view.labelled
        require_several(y, view.num_classes)
        numbers = self._numbers(view.unlabelled)
        some = spread(len(y), self.rows).to(y.device)
        first, second = halves(y[some])
        z = numbers(release[some])
        varies = torch.nonzero((z != z[:1]).any(0)).flatten()
        if not len(varies):
            raise NotApplicableError("no code and no count varies, so no remainder does")
        drawn = torch.randperm(len(varies), generator=generator)[: self.paired].to(varies.device)
        candidates = _candidates(varies, varies[drawn])
        best = candidates[_ranked(z[first], y[some][first], candidates, view.num_classes)]
        options = [best[:count] for count in (1, 2, 4, 8, 16)]
        learn, check = z[second], y[some][second]
        fits = [Ridge.fit(Basis.fit(_one_hot(learn, rows)), check, view.num_classes) for rows in options]
        count = len(options[strongest(fits)])
        chosen = best[_ranked(z, y[some], best, view.num_classes)[:count]]

        def features(rows: Tensor) -> Tensor:
            return _one_hot(numbers(rows), chosen)

        return ProbeAttack(features=features, ridge=Ridge.fit(Basis.fit(features(release)), y, view.num_classes))

    def _numbers(self, pool: Shaped[Tensor, "n ..."]) -> Callable[[Tensor], Int[Tensor, "n d"]]:
        """Releases to integers: counts, and codes with their sum for the columns that lie on a grid."""
        shown = pool.reshape(len(pool), -1)
        places = spread(shown.shape[1], self.columns).to(pool.device)
        try:
            grids = Grids.fit(shown[:, places])
        except NotApplicableError:
            return lambda rows: counts(flat(rows))

        def numbers(rows: Tensor) -> Tensor:
            codes = grids(rows.reshape(len(rows), -1)[:, places])
            return torch.cat([counts(flat(rows)), codes[:, grids.alike].sum(1, keepdim=True), codes], dim=1)

        return numbers


def _candidates(varies: Int[Tensor, " d"], paired: Int[Tensor, " p"]) -> Int[Tensor, "q 4"]:
    """Every column by itself and every two of some, with every modulus."""
    moduli = (*MODULI, *_LARGE)
    alone = [Series(one, one, -1, modulus) for one in varies.tolist() for modulus in moduli]
    places = paired.sort().values.tolist()
    two = [
        Series(one, other, operation, modulus)
        for at, one in enumerate(places)
        for other in places[at + 1 :]
        for operation in range(len(_OPERATIONS))
        for modulus in moduli
    ]
    return torch.tensor(alone + two, device=varies.device)


def _evaluated(numbers: Int[Tensor, "n d"], series: Int[Tensor, "q 4"]) -> Integer[Tensor, "n q"]:
    """The remainders of every series, of large moduli their sixteenths: values below 16."""
    result = numbers[:, series[:, 0]]
    for position, operation in enumerate(_OPERATIONS):
        rows = torch.nonzero(series[:, 2] == position).flatten()
        if len(rows):
            result[:, rows] = operation(result[:, rows], numbers[:, series[rows, 1]])
    modulus = series[:, 3]
    rest = result.remainder(modulus)
    return torch.where(modulus > _VALUES, rest * _VALUES // modulus, rest).to(torch.uint8)


def _ranked(
    numbers: Int[Tensor, "n d"], y: Int[Tensor, " n"], series: Int[Tensor, "q 4"], classes: int
) -> Int[Tensor, " s"]:
    """Positions of the series that tell most, best first; at most 64."""
    score = torch.cat(
        [surprise(_evaluated(numbers, rows), y, classes, _VALUES) for rows in torch.split(series, _BLOCK)]
    )
    return score.topk(min(_KEPT, len(score))).indices


def _one_hot(numbers: Int[Tensor, "n d"], series: Int[Tensor, "q 4"]) -> Float[Tensor, "n f"]:
    """Which value every series has, as columns of zeros and ones."""
    return torch.nn.functional.one_hot(_evaluated(numbers, series).long(), _VALUES).flatten(1).float()
