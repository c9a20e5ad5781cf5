"""Carlini and Wagner's search for the nearest adversarial image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion import foolbox_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.threat import Level


@ADVERSARIES.register("carlini-wagner", goals=("evasion",), order=30)
@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Evasion):
    """Minimizes the l2 distance plus a margin term, whose weight it searches for.

    Knows: the whole deployed pipeline, its noise law included.
    Does: Adam in a space without bounds; what it finds is brought into each ball.

    Args:
        steps: gradient steps for each weight.
        searches: weights that are tried.

    Source: Carlini and Wagner, Towards evaluating the robustness of neural networks, 2017, arXiv 1608.04644.
    """

    level: ClassVar[Level] = "L4"
    norms: ClassVar[tuple[str, ...]] = ("l2",)
    minimal: ClassVar[bool] = True
    loss: ClassVar[Literal["entropy", "margin", "none"]] = "margin"

    steps: int = 100
    searches: int = 4

    def perturb(
        self,
        pipeline: Pipeline,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        ball: Ball,  # noqa: ARG002  (the nearest is the nearest for every radius)
        seed: int,  # noqa: ARG002
    ) -> Float[Tensor, "n c h w"]:
        """The nearest adversarial images found."""
        return foolbox_adapter.carlini_wagner(pipeline, images, labels, steps=self.steps, searches=self.searches)

    def doubled(self) -> CarliniWagner:
        """Twice the steps."""
        return self._more(steps=2 * self.steps)
