"""The identity: the release is the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vfc.defense import DEFENSES, Defense
from vfc.release import Release


@DEFENSES.register("identity")
@dataclass(frozen=True, kw_only=True)
class Identity(Defense):
    """No defense at all: publishes the image itself. Every adversary must find everything in it.

    Threat model: none is claimed; a control. Known breaks: it is the image. Cost: none.

    Source: none; the known leak at full strength.
    """

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """The images themselves."""
        return Release(values=x, bounds=(0.0, 1.0))

    def inverse(self, values: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."]:
        """The same images."""
        return values
