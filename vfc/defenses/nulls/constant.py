"""A constant release: a known null."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.defense import DEFENSES, Defense
from vfc.defenses.support import require_range
from vfc.release import Release


@DEFENSES.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(Defense):
    """Known null: every release is the same gray image. No adversary may find anything in it.

    Threat model: none is claimed; a control. Known breaks: none, as it tells nothing, to the target neither.
    Cost: all of the target's accuracy.

    Args:
        level: gray level in [0, 1].

    Source: none; a control.
    """

    level: float = 0.5

    def __post_init__(self) -> None:
        require_range("level", self.level, 0, 1)

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Gray images."""
        return Release(values=torch.full_like(x, self.level), bounds=(0.0, 1.0))
