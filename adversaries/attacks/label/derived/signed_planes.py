"""Probes on bits as a machine holds them, and on what neighboring bits are together.

Axes: n rows, d columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.attacks.label.derived.bit_planes import words
from adversaries.knowledge import Knowledge
from adversaries.learning.grids import Grids
from adversaries.learning.kernels import ProbeAttack, spread, strongest
from adversaries.learning.planes import fit_planes
from adversaries.threat import Level
from vfc.errors import NotApplicableError

Codes = Callable[[Tensor], Int[Tensor, "n d"]]


@ADVERSARIES.register("signed-planes", goals=("task", "attribute"), order=299)
@dataclass(frozen=True, kw_only=True)
class SignedPlanes(Adversary):
    """A linear probe on bits in two's complement, and on whether neighboring bits differ.

    Knows: labelled releases; unlabelled ones to find the grid of their values.
    Does: takes integers, and columns on a grid, in two's complement, where subtracting the smallest code would carry
    from bit to bit; floating-point values as the words that hold them, unless all lie on grids. Reads the bits, their
    exclusive or with the next higher bit, and their exclusive or with the same bit of the next value: each plane alone
    and all together, by leave-one-out inside the labelled rows.

    Args:
        screen: planes are compared on at most so many labelled rows.
        columns: of wider releases it looks at so many values, evenly among all.
    """

    level: ClassVar[Level] = "L2"

    screen: int = 512
    columns: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness; raises `NotApplicableError` where nothing varies."""
        release, y = view.labelled
        pool = view.unlabelled.reshape(len(view.unlabelled), -1)
        places = spread(pool.shape[1], self.columns).to(pool.device)

        def look(codes: Codes, way: Codes) -> Codes:
            return lambda rows: way(codes(rows.reshape(len(rows), -1)[:, places]))

        fits = [
            fit_planes(look(codes, way), count, release, y, view.num_classes, screen=self.screen)
            for codes, count, plain in _readings(pool[:, places])
            for way in ([_apart, _beside] if plain else [lambda found: found, _apart, _beside])
            if way is not _beside or codes(pool[:1, places]).shape[1] > 1
        ]
        return fits[strongest([fit.ridge for fit in fits])]


def _readings(pool: Tensor) -> list[tuple[Codes, int, bool]]:
    """Releases to integers, how many bits those have, and whether another probe reads the bits as they are."""
    try:
        grids = Grids.fit(pool)
    except NotApplicableError:
        return [_words(pool)]
    found = grids(pool)
    size = max(int(found.max()), -int(found.min()) - 1, 1)
    together = grids.exact and bool(grids.alike.all()) and not bool(grids.origin.any())
    plain = together and not bool((found < 0).any())
    whole = (grids, min(63, size.bit_length() + 1), plain)
    return [whole] if grids.exact or not pool.is_floating_point() else [whole, _words(pool)]


def _words(pool: Tensor) -> tuple[Codes, int, bool]:
    return words, torch.iinfo(words(pool[:1]).dtype).bits, True


def _apart(codes: Tensor) -> Tensor:
    """Which bits differ from the next higher one."""
    return codes ^ (codes >> 1)


def _beside(codes: Tensor) -> Tensor:
    """Which bits differ from those of the next value."""
    return codes[:, 1:] ^ codes[:, :-1]
