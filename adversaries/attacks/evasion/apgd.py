"""Auto-PGD: projected gradient descent that finds its own step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion import torchattacks_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.threat import Level


@ADVERSARIES.register(
    "apgd",
    goals=("evasion",),
    variants=({"objective": "ce"}, {"objective": "dlr"}, {"objective": "targeted"}),
    order=20,
)
@dataclass(frozen=True, kw_only=True)
class APGD(Evasion):
    """Auto-PGD, two of the four attacks of AutoAttack: momentum, and a step size halved when progress stalls.

    Knows: the whole deployed pipeline, its noise law included.
    Does: follows the cross-entropy, or the difference-of-logits ratio, which does not saturate, untargeted or toward
    every other class.

    Args:
        steps: gradient steps.
        objective: `ce`, `dlr` (3 classes or more) or `targeted` (4 or more).
        gradient: as for `pgd`.
        restarts: random starts.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks, 2020, arXiv 2003.01690.
    """

    level: ClassVar[Level] = "L4"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    steps: int = 40
    objective: Literal["ce", "dlr", "targeted"] = "ce"
    gradient: Literal["exact", "straight-through", "target"] = "exact"

    def perturb(
        self, pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], ball: Ball, seed: int
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images where some were found."""
        return torchattacks_adapter.apgd(
            self.seen(pipeline), images, labels, ball, steps=self.steps, loss=self.objective, seed=seed
        )

    def seen(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline with the chosen gradient."""
        return pipeline.followed(self.gradient)

    def followed(self) -> Literal["entropy", "margin", "none"]:
        """Cross-entropy, or a difference of logits."""
        return "entropy" if self.objective == "ce" else "margin"

    def doubled(self) -> APGD:
        """Twice the steps."""
        return self._more(steps=2 * self.steps)
