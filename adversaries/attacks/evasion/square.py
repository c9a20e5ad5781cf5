"""Square attack: random search on scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacks.evasion import torchattacks_adapter
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.threat import Level


@ADVERSARIES.register("square", goals=("evasion",), order=50)
@dataclass(frozen=True, kw_only=True)
class Square(Evasion):
    """Random squares are added and kept when the margin falls; needs scores and no gradient.

    Knows: the logits of the deployed pipeline for images of its choice.
    Does: shrinking squares at the edge of the ball.

    Args:
        queries: per image and start.
        restarts: random starts.

    Source: Andriushchenko et al., Square attack: a query-efficient black-box adversarial attack via random search,
    2020, arXiv 1912.00049.
    """

    level: ClassVar[Level] = "L3"
    norms: ClassVar[tuple[str, ...]] = ("linf", "l2")

    queries: int = 500

    def perturb(
        self, pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], ball: Ball, seed: int
    ) -> Float[Tensor, "n c h w"]:
        """Adversarial images where some were found."""
        return torchattacks_adapter.square(pipeline, images, labels, ball, queries=self.queries, seed=seed)

    def doubled(self) -> Square:
        """Twice the queries."""
        return self._more(queries=2 * self.queries)
