"""What an evasion attack is: settings, and `perturb`, which moves images inside a ball so that the pipeline errs."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, cast

from jaxtyping import Float, Int
from torch import Tensor

from adversaries.attacker import Attacker
from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.pipeline import Pipeline
from adversaries.registries import ADVERSARIES as _ADVERSARIES
from vfc.registry import Registry

E = TypeVar("E", bound="Evasion")


@dataclass(frozen=True, kw_only=True)
class Evasion(Attacker):
    """Base of all evasion attacks. It never grades itself: `adversaries.goals.evasion` does.

    Class attributes:
        level: L3 for attacks that query the pipeline, L4 for those that follow its gradient.
        norms: the balls it works in.
        minimal: whether it looks for the nearest adversarial image, whatever the radius; it is run once for all balls
            of a norm, and what it finds is brought into each.
        loss: whose gradient it follows: `entropy`, `margin`, or none.

    Args:
        restarts: how many times it starts; each start attacks what is left.
    """

    norms: ClassVar[tuple[str, ...]]
    minimal: ClassVar[bool] = False
    loss: ClassVar[Literal["entropy", "margin", "none"]] = "none"
    trains_on_labels: ClassVar[bool] = False

    restarts: int = 1

    @abstractmethod
    def perturb(
        self, pipeline: Pipeline, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], ball: Ball, seed: int
    ) -> Float[Tensor, "n c h w"]:
        """Perturbed images; what is not found stays as it is.

        Args:
            pipeline: what is attacked.
            images: float32 in [0, 1].
            labels: what must no longer be predicted.
            ball: the budget; `minimal` attacks may go beyond it.
            seed: for libraries that take one; global randomness is set besides.

        Raises:
            NotApplicableError: the attack has no meaning for this pipeline.
        """

    @abstractmethod
    def doubled(self: E) -> E:
        """The same attack with twice the steps or queries."""

    def seen(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline as these settings take its gradient."""
        return pipeline

    def followed(self) -> Literal["entropy", "margin", "none"]:
        """The loss whose gradient these settings follow."""
        return self.loss

    def _more(self: E, **changes: Any) -> E:
        return replace(self, **changes)


ADVERSARIES = cast("Registry[type[Evasion]]", _ADVERSARIES)
"""The registry of all adversaries, as attacks on the pipeline's input see it."""
