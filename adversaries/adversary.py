"""What an adversary is: settings, and `fit`, which turns a view of the world into an attack."""

# Structure: calibration does not count it.

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.attacker import Attacker
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.registries import ADVERSARIES as ADVERSARIES


class Attack(ABC):
    """A fitted adversary, ready to guess about releases that it has never seen."""

    gradient_steps: int = 0
    """How many optimizer steps fitting took."""

    flags: frozenset[str] = frozenset()
    """Doubts that the adversary has about itself (names of `adversaries.health`), ZERO_GRADIENT for instance."""

    scale: Scores = "logits"
    """What `guess` returns: logits, or shares (votes, probabilities). Balanced accuracy divides by priors."""

    @abstractmethod
    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Score every class for every release; the largest score is the guess.

        Args:
            release: releases of one batch, shape (n, ...), as the defense published them.

        Returns:
            Finite scores, shape (n, k); any scale.
        """

    def guess_knowing(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"],  # noqa: ARG002  (subclasses use it)
    ) -> Float[Tensor, "n k"]:
        """Guess an attribute with the target's predictions at hand; only asked of who declares `uses_prediction`.

        Args:
            release: as for `guess`.
            prediction: the class that the target predicts on each release.
        """
        return self.guess(release)


@dataclass(frozen=True, kw_only=True)
class Adversary(Attacker):
    """Base of adversaries that guess labels. They never grade themselves: `adversaries.goals.assess` does."""

    @abstractmethod
    def fit(self, view: Knowledge, generator: torch.Generator) -> Attack:
        """Learn from what the view grants.

        Args:
            view: the attacker's whole world.
            generator: the only source of randomness.

        Raises:
            NotApplicableError: this adversary has no meaning for such releases; the reason is shown to the user.
        """

    @property
    def uses_prediction(self) -> bool:
        """Whether it reads the target's predictions on releases where the goal grants them."""
        return False
