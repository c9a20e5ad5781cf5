"""What an attacker is after, how a guess is graded, and the floor: the best guess without reading the release."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.world import Part, World
from vfc.errors import unknown


@dataclass(frozen=True, kw_only=True)
class Goal(ABC):
    """A secret of the targets, and its grading."""

    @property
    @abstractmethod
    def name(self) -> str:
        """How reports call the goal."""


@dataclass(frozen=True, kw_only=True)
class LabelGoal(Goal):
    """A label of the targets; a guess is a score per class, and right or wrong.

    Args:
        label: the label's name.
    """

    label: str
    kind: ClassVar[str]
    grants_prediction: ClassVar[bool] = False
    """Whether the attacker is told the target's prediction on every release."""

    @property
    def name(self) -> str:
        """How reports call the goal."""
        return f"{self.kind}:{self.label}"

    def rows(self, guess: Float[Tensor, "n k"], part: Part) -> Bool[Tensor, " n"]:
        """Whether the highest score is the label's."""
        return guess.argmax(1) == part.labels[self.label].to(guess.device)

    @abstractmethod
    def floor(self, world: World) -> Bool[Tensor, " n"]:
        """Per-target success of the best guess that does not read the release."""

    def majority(self, world: World) -> int:
        """The most frequent class of the attacker pool (the lowest of several)."""
        return int(torch.bincount(world.train.labels[self.label], minlength=world.classes[self.label]).argmax())

    def chance(self, labels: Int[Tensor, " n"]) -> float:
        """The rate at which the best constant guess is right on some labels."""
        return float(torch.bincount(labels).max() / len(labels))


@dataclass(frozen=True, kw_only=True)
class TaskLabel(LabelGoal):
    """The label that the target model predicts."""

    kind: ClassVar[str] = "task"

    def floor(self, world: World) -> Bool[Tensor, " n"]:
        """Always guess the most frequent class of the attacker pool."""
        return world.targets.labels[self.label] == self.majority(world)


@dataclass(frozen=True, kw_only=True)
class Attribute(LabelGoal):
    """A private label. Everybody, the floor included, knows what the target predicts on the release."""

    kind: ClassVar[str] = "attribute"
    grants_prediction: ClassVar[bool] = True

    def floor(self, world: World) -> Bool[Tensor, " n"]:
        """The better, on the attacker pool, of the majority class and a table from prediction to attribute."""
        truth = world.targets.labels[self.label]
        table = self.table(world)
        if table is None or world.targets.prediction is None:
            return truth == self.majority(world)
        return truth == table[world.targets.prediction]

    def table(self, world: World) -> Int[Tensor, " predictions"] | None:
        """The most frequent attribute for each class that the target predicts; None without predictions.

        A prediction that the pool never shows means the majority class. On the pool itself the table is never worse
        than the majority class.
        """
        seen, labels = world.train.prediction, world.train.labels[self.label]
        if seen is None or world.targets.prediction is None:
            return None
        rows = 1 + int(max(seen.max(), world.targets.prediction.max()))
        counts = torch.zeros(rows, world.classes[self.label], device=labels.device)
        counts.index_put_((seen, labels), torch.ones(len(labels), device=labels.device), accumulate=True)
        table = counts.argmax(1)
        table[counts.sum(1) == 0] = self.majority(world)
        return table


GOALS: dict[str, type[LabelGoal]] = {"task": TaskLabel, "attribute": Attribute}


def make_goal(name: str) -> LabelGoal:
    """The goal over a label that has such a name, for instance `task:digit`.

    Raises:
        UserError: there is no such kind of goal.
    """
    kind, _, label = name.partition(":")
    if kind not in GOALS:
        raise unknown("kind of goal", kind, GOALS)
    return GOALS[kind](label=label)
