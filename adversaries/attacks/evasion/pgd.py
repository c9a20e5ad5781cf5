"""Projected gradient descent on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion import foolbox_adapter, torchattacks_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.threat import Level


@ADVERSARIES.register(
    "pgd",
    goals=("evasion",),
    variants=({}, {"gradient": "straight-through"}, {"gradient": "target"}, {"library": "foolbox"}),
    order=10,
)
@dataclass(frozen=True, kw_only=True)
class PGD(Evasion):
    """Follows the gradient of the cross-entropy through defense and target, step by step, inside the ball.

    Knows: the whole deployed pipeline, its noise law included.
    Does: steps of 2.5 * eps / steps from a random point; expectation over the defense's randomness in every step.

    Args:
        steps: gradient steps.
        gradient: `exact`; `straight-through`: the release's gradient taken for the image's; or `target`: that of the
            target on the image itself. The last two are for defenses that have no useful gradient of their own.
        library: torchattacks or foolbox.
        restarts: random starts.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018, arXiv 1706.06083.
    """

    level: ClassVar[Level] = "L4"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")
    loss: ClassVar[Literal["entropy", "margin", "none"]] = "entropy"

    steps: int = 40
    gradient: Literal["exact", "straight-through", "target"] = "exact"
    library: Literal["torchattacks", "foolbox"] = "torchattacks"

    def perturb(
        self,
        pipeline: Pipeline,
        images: Float[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        ball: Ball,
        seed: int,  # noqa: ARG002  (global randomness is set already)
    ) -> Float[Tensor, "n c h w"]:
        """The last iterate."""
        run = torchattacks_adapter.pgd if self.library == "torchattacks" else foolbox_adapter.pgd
        return run(self.seen(pipeline), images, labels, ball, steps=self.steps)

    def seen(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline with the chosen gradient."""
        return pipeline.followed(self.gradient)

    def doubled(self) -> PGD:
        """Twice the steps."""
        return self._more(steps=2 * self.steps)
