"""A fitted white-box inversion: it optimizes anew for every release that it is handed.

Axes: n releases, c channels, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.goals.reconstruction import Reconstruction


@dataclass(frozen=True, kw_only=True)
class Inverter(Reconstruction):
    """Descends for every release that it is handed.

    Args:
        run: from releases and a generator to the best of all iterates and restarts by the attack's own loss.
        chunk: releases at a time.
        seed: of the randomness while rebuilding.
        gradient_steps: steps per release, over all restarts.
        flags: doubts about the fit.
    """

    run: Callable[[Tensor, torch.Generator], Tensor]
    chunk: int
    seed: int
    gradient_steps: int
    flags: frozenset[str]

    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (the release shows it anyway)
    ) -> Float[Tensor, "n c h w"]:
        """For every release the image with the lowest own loss; the truth plays no part."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.cat([self.run(rows, generator) for rows in torch.split(release, self.chunk)])
