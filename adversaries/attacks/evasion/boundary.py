"""The boundary attack: decisions alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion import foolbox_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.threat import Level


@ADVERSARIES.register("boundary", goals=("evasion",), order=60)
@dataclass(frozen=True, kw_only=True)
class Boundary(Evasion):
    """Walks along the decision boundary toward the image, from an image of its own of another class.

    Knows: the class that the deployed pipeline predicts for images of its choice.
    Does: random orthogonal steps with a pull to the original; what it finds is brought into each ball.

    Args:
        steps: of the walk.

    Source: Brendel et al., Decision-based adversarial attacks, 2018, arXiv 1712.04248.
    """

    level: ClassVar[Level] = "L3"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    minimal: ClassVar[bool] = True

    steps: int = 1000

    def perturb(
        self,
        pipeline: Pipeline,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        ball: Ball,  # noqa: ARG002  (the nearest is the nearest for every radius)
        seed: int,  # noqa: ARG002  (global randomness is set already)
    ) -> Float[Tensor, "n c h w"]:
        """The nearest adversarial images found."""
        return foolbox_adapter.boundary(pipeline, images, labels, steps=self.steps)

    def doubled(self) -> Boundary:
        """Twice the steps."""
        return self._more(steps=2 * self.steps)
