"""Negated images: a strawman."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vfc.defense import DEFENSES, Defense
from vfc.release import Release


@DEFENSES.register("negated")
@dataclass(frozen=True, kw_only=True)
class Negated(Defense):
    """Strawman: publishes the negative, 1 - x; the intended use negates it back.

    It removes nothing, yet frozen unintended models stumble over it.

    Threat model: none is claimed; a control. Known breaks: 1 - x. Cost: none.

    Source: none; folklore.
    """

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """The negatives."""
        return Release(values=1 - x, bounds=(0.0, 1.0))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the images."""
        return super().predict(1 - values)
