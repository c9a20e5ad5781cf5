"""DeepFool: the nearest boundary of the linearized pipeline."""

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


@ADVERSARIES.register("deepfool", goals=("evasion",), order=40)
@dataclass(frozen=True, kw_only=True)
class DeepFool(Evasion):
    """Steps to the nearest decision boundary of the pipeline's linear approximation until the prediction changes.

    Knows: the whole deployed pipeline, its noise law included.
    Does: up to `steps` steps among the ten likeliest classes; what it finds is brought into each ball.

    Args:
        steps: linearizations.

    Source: Moosavi-Dezfooli et al., DeepFool: a simple and accurate method to fool deep neural networks, 2016, arXiv
    1511.04599.
    """

    level: ClassVar[Level] = "L4"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    minimal: ClassVar[bool] = True
    loss: ClassVar[Literal["entropy", "margin", "none"]] = "margin"

    steps: int = 30

    def perturb(
        self,
        pipeline: Pipeline,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        ball: Ball,
        seed: int,  # noqa: ARG002  (it draws nothing)
    ) -> Float[Tensor, "n c h w"]:
        """The nearest adversarial images found."""
        return foolbox_adapter.deepfool(pipeline, images, labels, ball.norm, steps=self.steps)

    def doubled(self) -> DeepFool:
        """Twice the steps."""
        return self._more(steps=2 * self.steps)
