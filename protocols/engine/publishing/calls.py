"""Rows of several parts published together: mixed, so that no call shows which part it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from vfc.seeding import derive_seed

ROWS = 512
"""Rows of one call; the last one has what is left."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Rows of several parts in one random order.

    Args:
        sizes: rows by part.
        order: shape (n,), positions in the parts put one behind the other, in the order of publishing.
    """

    sizes: Mapping[str, int]
    order: Int64[Tensor, " n"]

    @classmethod
    def drawn(cls, sizes: Mapping[str, int], *seed: object) -> Mixture:
        """An order that depends on a seed alone, and on nothing that is published."""
        generator = torch.Generator().manual_seed(derive_seed("calls", *seed))
        return cls(sizes=dict(sizes), order=torch.randperm(sum(sizes.values()), generator=generator))

    def calls(self, parts: Mapping[str, Shaped[Tensor, "m ..."]]) -> Iterator[Shaped[Tensor, "rows ..."]]:
        """What is handed over in each call.

        Args:
            parts: rows by part, as many as `sizes` says.
        """
        together = torch.cat([parts[name] for name in self.sizes])
        for rows in torch.split(self.order, ROWS):
            yield together[rows]

    def apart(self, pieces: Sequence[Shaped[Tensor, "rows ..."]]) -> dict[str, Shaped[Tensor, "m ..."]]:
        """What came back from each call, put back into the places of its rows, by part."""
        mixed = torch.cat(list(pieces))
        placed = torch.empty_like(mixed)
        placed[self.order] = mixed
        return dict(zip(self.sizes, torch.split(placed, list(self.sizes.values())), strict=True))

    @property
    def numbers(self) -> dict[str, Int64[Tensor, " m"]]:
        """Which call each row was published in, counted from 0, by part."""
        pieces = torch.split(self.order, ROWS)
        return self.apart([torch.full((len(rows),), number) for number, rows in enumerate(pieces)])
