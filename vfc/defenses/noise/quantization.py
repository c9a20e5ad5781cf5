"""Coarser gray levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.defense import DEFENSES, Defense
from vfc.defenses.support import require_range
from vfc.release import Release


@DEFENSES.register("quantization", sweep={"bits": (1, 2, 4)})
@dataclass(frozen=True, kw_only=True)
class Quantization(Defense):
    """Publishes the image with every value rounded to the nearest of 2^bits levels in [0, 1].

    Threat model: none is claimed; a baseline. Known breaks: from a few bits on every model and every probe reads it as
    the image; rounding hides fine differences of gray and nothing else. Cost: one rounding per value.

    Args:
        bits: bits per value, 1 to 16.

    Source: none; folklore.
    """

    bits: int = 2

    def __post_init__(self) -> None:
        require_range("bits", self.bits, 1, 16)

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Rounded images."""
        top = 2**self.bits - 1
        return Release(values=torch.round(x * top) / top, bounds=(0.0, 1.0))
