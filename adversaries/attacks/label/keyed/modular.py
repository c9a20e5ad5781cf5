"""Gaussian elimination modulo a prime: labels that are a linear function of published integers.

Axes: n rows, m unknowns, t trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.label.derived.integer_codes import Grid, find_grid
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.threat import Level
from vfc.defenses.keyed.linear_mask import prime_from
from vfc.errors import NotApplicableError

_LARGEST, _MOST_COLUMNS = 1 << 12, 512
_OPERATIONS = 1e8
_MOST_TRIALS = 20_000
_BATCH_ENTRIES = 4_000_000
_CHANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class ModularReading(Attack):
    """Reads the label off a linear relation; without one it says how frequent classes were.

    Args:
        grid: releases to integers.
        varies: columns that are not constant.
        prime: of the arithmetic.
        solution: coefficients of those columns and of a constant; None where no relation was found.
        prior: share of every class among the labelled rows.
        scale: shares.
    """

    grid: Grid
    varies: Bool[Tensor, " d"]
    prime: int
    solution: Int[Tensor, " m"] | None
    prior: Float[Tensor, " k"]
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """One for the class that the relation gives; the shares of classes where it gives none."""
        shares = self.prior.expand(len(release), -1).clone()
        if self.solution is None:
            return shares
        found = read(design(self.grid.codes(release)[:, self.varies], self.prime), self.solution, self.prime)
        known = torch.nonzero(found < len(self.prior)).flatten()
        shares[known] = torch.nn.functional.one_hot(found[known], len(self.prior)).to(shares)
        return shares


@ADVERSARIES.register("modular", goals=("task", "attribute"), order=292)
@dataclass(frozen=True, kw_only=True)
class Modular(Adversary):
    """Solves for a label that is a linear function of published integers modulo a prime.

    Knows: labelled releases; unlabelled ones to find the integers and the prime.
    Does: takes the smallest prime above all published integers that is not below the number of classes, draws as many
    labelled rows as there are unknowns (one per column that varies, and a constant), solves by Gaussian elimination,
    and keeps the first solution that foretells the labels of the other rows better than chance would in one of a
    million; draws again otherwise, since some labels may be wrong. It needs a few labels more than there are columns.
    Source: the break of the linear masks of Blum, Kalai, Wasserman, 2003, arXiv cs/0010022, where labels have no
    noise; repeated draws as in Prange, "The use of information sets in decoding cyclic codes", 1962.

    Args:
        trials: draws, at most; fewer where there are so many columns that a draw is slow.
    """

    level: ClassVar[Level] = "L2"

    trials: int = _MOST_TRIALS

    def fit(self, view: Knowledge, generator: torch.Generator) -> ModularReading:
        """Search for a relation.

        Raises:
            NotApplicableError: the release holds no small integers, or more columns than can be solved for.
        """
        release, y = view.labelled
        pool, grid = view.unlabelled, find_grid(view.unlabelled)
        codes = grid.codes(pool)
        if grid.low < 0 or int(codes.max()) >= _LARGEST:
            raise NotApplicableError(f"the release holds no integers in [0, {_LARGEST})")
        varies = (codes != codes[:1]).any(0)
        if int(varies.sum()) > _MOST_COLUMNS:
            raise NotApplicableError(f"the release holds more than {_MOST_COLUMNS} columns that vary")
        prime = prime_from(max(int(codes.max()) + 1, view.num_classes))
        prior = torch.bincount(y, minlength=view.num_classes).float() / len(y)
        known = design(grid.codes(release)[:, varies], prime)
        return ModularReading(
            grid=grid,
            varies=varies,
            prime=prime,
            solution=search(known, y.to(torch.int32), prime, self.trials, generator),
            prior=prior,
        )


def design(codes: Int[Tensor, "n d"], prime: int) -> Int[Tensor, "n m"]:
    """Integers modulo a prime, and a column of ones."""
    return torch.cat([codes % prime, codes.new_ones(len(codes), 1)], dim=1).to(torch.int32)


def read(known: Int[Tensor, "n m"], solution: Int[Tensor, " m"], prime: int) -> Int[Tensor, " n"]:
    """Values of a linear form modulo a prime."""
    return (known.long() @ solution.long()) % prime


def search(
    known: Int[Tensor, "n m"], y: Int[Tensor, " n"], prime: int, trials: int, generator: torch.Generator
) -> Int[Tensor, " m"] | None:
    """A linear form that foretells labels of rows that it was not solved from; None without one.

    Args:
        known: rows, a column of ones among them.
        y: their labels.
        prime: of the arithmetic.
        trials: draws, at most.
        generator: draws the rows.
    """
    rows, unknowns = known.shape
    others = rows - unknowns
    if others < 1:
        return None
    trials = max(4, min(trials, int(_OPERATIONS / unknowns**3)))
    # A wrong form is right about as often as the best constant guess, or as one residue in all.
    luck = max(float(torch.bincount(y.long()).max()) / rows, 1 / prime)
    needed = next((k for k in range(others + 1) if stats.binom(others, luck).sf(k - 1) * trials < _CHANCE), None)
    if needed is None:
        return None
    done, batch = 0, max(1, min(64, _BATCH_ENTRIES // unknowns**2))
    while done < trials:
        count = min(batch, trials - done)
        drawn = torch.stack([torch.randperm(rows, generator=generator) for _ in range(count)]).to(known.device)
        chosen = drawn[:, :unknowns]
        solutions = solve(known[chosen], y[chosen], prime)
        said = (known.long() @ solutions.long().T) % prime
        right = (said == y.long()[:, None]).T
        right = right.scatter(1, chosen, torch.zeros_like(chosen, dtype=torch.bool)).sum(1)
        best = int(right.argmax())
        if int(right[best]) >= needed:
            return solutions[best]
        done, batch = done + count, min(2 * batch, max(1, _BATCH_ENTRIES // unknowns**2))
    return None


def solve(known: Int[Tensor, "t m m"], y: Int[Tensor, "t m"], prime: int) -> Int[Tensor, "t m"]:
    """Solutions of square systems modulo a prime, by elimination of every column; free unknowns are 0.

    Args:
        known: coefficients in [0, prime), of systems that need not be regular.
        y: right sides in [0, prime).
        prime: below 2^15, so that products fit into 32 bits.
    """
    table = torch.cat([known, y[:, :, None]], dim=2)
    inverses = torch.tensor([0, *(pow(value, -1, prime) for value in range(1, prime))], dtype=torch.int32)
    inverses = inverses.to(table.device)
    trials, unknowns = y.shape
    each = torch.arange(trials, device=y.device)
    used = torch.zeros(trials, unknowns, dtype=torch.bool, device=y.device)
    pivots = torch.full((trials, unknowns), -1, dtype=torch.long, device=y.device)
    for column in range(unknowns):
        usable = (table[:, :, column] != 0) & ~used
        row = usable.to(torch.int8).argmax(1)
        exists = usable[each, row]
        pivot = table[each, row] * inverses[table[each, row, column].long()][:, None] % prime
        # A system without a pivot here is left as it is.
        factor = torch.where(exists[:, None], table[:, :, column], 0)
        factor[each, row] = 0
        table = (table - factor[:, :, None] * pivot[:, None, :]) % prime
        table[each, row] = torch.where(exists[:, None], pivot, table[each, row])
        used[each, row] |= exists
        pivots[:, column] = torch.where(exists, row, -1)
    values = table[:, :, -1].gather(1, pivots.clamp_min(0))
    return torch.where(pivots >= 0, values, 0)
