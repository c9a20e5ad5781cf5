"""HopSkipJump: decisions alone, with an estimated normal of the boundary."""

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


@ADVERSARIES.register("hop-skip-jump", goals=("evasion",), order=70)
@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Evasion):
    """Jumps along the boundary's normal, which it estimates from decisions near the boundary.

    Knows: the class that the deployed pipeline predicts for images of its choice.
    Does: estimate, step, bisect back to the boundary; what it finds is brought into each ball.

    Args:
        steps: jumps.
        evaluations: decisions for the first estimate; later ones take more.

    Source: Chen, Jordan and Wainwright, HopSkipJumpAttack: a query-efficient decision-based attack, 2020, arXiv
    1904.02144.
    """

    level: ClassVar[Level] = "L3"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    minimal: ClassVar[bool] = True

    steps: int = 5
    evaluations: int = 50

    def perturb(
        self,
        pipeline: Pipeline,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        ball: Ball,
        seed: int,  # noqa: ARG002  (global randomness is set already)
    ) -> Float[Tensor, "n c h w"]:
        """The nearest adversarial images found."""
        return foolbox_adapter.hop_skip_jump(
            pipeline, images, labels, ball.norm, steps=self.steps, evaluations=self.evaluations
        )

    def doubled(self) -> HopSkipJump:
        """Twice the jumps."""
        return self._more(steps=2 * self.steps)
