"""What an attacker is after, how a guess is graded, and the floor: the best guess without reading the release."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.world import Part, World


@dataclass(frozen=True, kw_only=True)
class Goal(ABC):
    """A secret of the targets, and its grading."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How reports call the goal."""

    @abstractmethod
    def rows(self, guess: Float[Tensor, "n k"], part: Part) -> Bool[Tensor, " n"]:
        """Grade guesses row by row."""

    @abstractmethod
    def floor(self, world: World) -> Bool[Tensor, " n"]:
        """Per-target success of the best guess that does not read the release."""


@dataclass(frozen=True, kw_only=True)
class TaskLabel(Goal):
    """The label that the target model predicts; a guess is right or wrong.

    Args:
        label: the task label's name.
    """

    label: str

    @property
    def name(self) -> str:
        """How reports call the goal."""
        return f"task:{self.label}"

    def rows(self, guess: Float[Tensor, "n k"], part: Part) -> Bool[Tensor, " n"]:
        """Whether the highest score is the label's."""
        return guess.argmax(1) == part.labels[self.label].to(guess.device)

    def floor(self, world: World) -> Bool[Tensor, " n"]:
        """Always guess the most frequent class of the attacker pool (the lowest of several)."""
        return world.targets.labels[self.label] == self.majority(world)

    def majority(self, world: World) -> int:
        """The most frequent class of the attacker pool."""
        return int(torch.bincount(world.train.labels[self.label], minlength=world.classes[self.label]).argmax())

    def chance(self, labels: Int[Tensor, " n"]) -> float:
        """The rate at which the best constant guess is right on some labels."""
        return float(torch.bincount(labels).max() / len(labels))
