"""What an attacker is after, how a guess is graded, and the floor: the best guess without reading the release.

Axes: n rows, m graded rows, k classes, q questions (is it this class or another).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from vfc.errors import unknown

NOT_GRADED = 2
"""Code of a row that a question about one class leaves out; 0 is wrong and 1 right."""

Scores = Literal["logits", "shares"]
"""What scores are: logits, or shares (votes, probabilities, regression on one-hot labels)."""


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

    def graded(self, world: EvaluationData, part: Part) -> Int[Tensor, " m"]:  # noqa: ARG002  (subclasses use it)
        """Positions of the rows of a part that count: all."""
        return torch.arange(len(part), device=part.labels[self.label].device)

    def decided(
        self,
        guess: Float[Tensor, "n k"],
        scores: Scores,  # noqa: ARG002  (subclasses use it)
        prior: Float[Tensor, " k"],  # noqa: ARG002
        world: EvaluationData,  # noqa: ARG002
    ) -> Float[Tensor, "n k"]:
        """Scores whose largest is the guess that this goal's statistic rewards: as they are.

        Args:
            guess: what the attack said.
            scores: what kind of scores those are.
            prior: how frequent the classes were in what the attack learned from.
            world: what is attacked.
        """
        return guess

    @abstractmethod
    def floor(self, world: EvaluationData) -> Bool[Tensor, " m"]:
        """Success on each graded target of the best guess that does not read the release."""

    def majority(self, world: EvaluationData) -> int:
        """The most frequent class of the attacker pool (the lowest of several)."""
        return int(torch.bincount(world.train.labels[self.label], minlength=world.classes[self.label]).argmax())

    def chance(self, labels: Int[Tensor, " n"]) -> float:
        """The rate at which the best constant guess is right on some labels."""
        return float(torch.bincount(labels).max() / len(labels))

    def known_chance(self, world: EvaluationData) -> float:
        """The rate at which the best guess without the release is right on the attacker's own validation part."""
        return self.chance(world.validation.labels[self.label][self.graded(world, world.validation)])


@dataclass(frozen=True, kw_only=True)
class TaskLabel(LabelGoal):
    """The label that the target model predicts."""

    kind: ClassVar[str] = "task"

    def floor(self, world: EvaluationData) -> Bool[Tensor, " m"]:
        """Always guess the most frequent class of the attacker pool."""
        return world.targets.labels[self.label] == self.majority(world)


@dataclass(frozen=True, kw_only=True)
class Attribute(LabelGoal):
    """A private label. Everybody, the floor included, knows what the target predicts on the release.

    Where classes are skewed the statistic is balanced accuracy: as many rows of every class are graded, the first of
    each in the part's order, so that it is a plain rate, and what holds for rates holds for it. Guesses are then
    argmax p(a | r) / p(a), which is what balanced accuracy rewards.
    Source of that rule: Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, arXiv 2007.07314.
    """

    kind: ClassVar[str] = "attribute"
    grants_prediction: ClassVar[bool] = True

    def skewed(self, world: EvaluationData) -> bool:
        """Whether the rarest class has less than half of its fair share, over all parts."""
        parts = (world.train, world.validation, world.targets)
        counts = torch.bincount(torch.cat([part.labels[self.label] for part in parts]))
        classes = world.classes[self.label]
        return len(counts) < classes or bool(2 * classes * counts.min() < counts.sum())

    def graded(self, world: EvaluationData, part: Part) -> Int[Tensor, " m"]:
        """Positions of the rows that count: all, or as many of every class where classes are skewed."""
        labels = part.labels[self.label]
        if not self.skewed(world):
            return super().graded(world, part)
        counts = torch.bincount(labels, minlength=world.classes[self.label])
        return _first(labels, counts.min().expand_as(counts))

    def decided(
        self, guess: Float[Tensor, "n k"], scores: Scores, prior: Float[Tensor, " k"], world: EvaluationData
    ) -> Float[Tensor, "n k"]:
        """As they are, or over the prior where classes are skewed."""
        if not self.skewed(world):
            return guess
        share = prior.to(guess).clamp_min(_LEAST)
        return guess - share.log() if scores == "logits" else guess / share

    def majority(self, world: EvaluationData) -> int:
        """The most frequent class of the attacker pool (the lowest of several)."""
        return int(torch.bincount(self._pool(world)[1], minlength=world.classes[self.label]).argmax())

    def floor(self, world: EvaluationData) -> Bool[Tensor, " m"]:
        """The better, on the attacker pool, of a constant class and a table from prediction to attribute.

        The pool is all that the attacker owns, its validation part included: whoever is chosen on that part knows it
        too, and where p(a | prediction) is close to a coin a table from fewer rows falls behind by its own bad luck.
        """
        rows = self.graded(world, world.targets)
        truth = world.targets.labels[self.label][rows]
        table = self.table(world)
        if table is None or world.targets.prediction is None:
            return truth == self.majority(world)
        return truth == table[world.targets.prediction[rows]]

    def table(self, world: EvaluationData) -> Int[Tensor, " predictions"] | None:
        """The best guess for each class that the target predicts; None without predictions.

        That is the most frequent attribute, or argmax p(a | prediction) / p(a) where classes are skewed. A prediction
        that the pool never shows means the majority class. On the pool itself the table is never worse than a constant.
        """
        seen, labels = self._pool(world)
        if seen is None or world.targets.prediction is None:
            return None
        predictions = 1 + int(max(seen.max(), world.targets.prediction.max()))
        counts = joint_counts(seen, labels, predictions, world.classes[self.label])
        table = (counts / counts.sum(0).clamp_min(1) if self.skewed(world) else counts).argmax(1)
        table[counts.sum(1) == 0] = self.majority(world)
        return table

    def known_chance(self, world: EvaluationData) -> float:
        """The better, on the attacker's own validation part, of a constant class and the table."""
        own, constant, table = world.validation, super().known_chance(world), self.table(world)
        if table is None or own.prediction is None:
            return constant
        rows = self.graded(world, own)
        return max(constant, float((own.labels[self.label][rows] == table[own.prediction[rows]]).double().mean()))

    def questions(self, world: EvaluationData) -> tuple[int, ...]:
        """The classes about which `is it this one or another` is asked: all, or the second of two."""
        classes = world.classes[self.label]
        return (1,) if classes == 2 else tuple(range(classes))

    def by_class(self, says: Bool[Tensor, "n q"], world: EvaluationData, part: Part) -> Int[Tensor, "n q"]:
        """Right (1) and wrong (0) answers to the question about each class, on as many rows of it as of the others.

        That makes a plain rate of the balanced accuracy: whoever knows nothing is right half of the time, however often
        they say yes. All other rows are NOT_GRADED.
        """
        labels = part.labels[self.label].to(says.device)
        codes = torch.full(says.shape, NOT_GRADED, dtype=torch.long, device=says.device)
        for column, value in enumerate(self.questions(world)):
            truth = (labels == value).long()
            least = torch.bincount(truth, minlength=2).min()
            rows = _first(truth, least.repeat(2))
            codes[rows, column] = (says[rows, column].long() == truth[rows]).long()
        return codes

    def says(
        self, guess: Float[Tensor, "n k"], scores: Scores, prior: Float[Tensor, " k"], world: EvaluationData
    ) -> Bool[Tensor, "n q"]:
        """Whether scores say that it is this class, for each question: p(class | r) above the class's prior."""
        shares = guess.softmax(1) if scores == "logits" else guess / guess.sum(1, keepdim=True).clamp_min(_LEAST)
        asked = list(self.questions(world))
        return shares[:, asked] > prior.to(shares)[asked]

    def class_floor(self, world: EvaluationData) -> Int[Tensor, "n q"]:
        """`by_class` on the targets of the best answer without the release: p(class | prediction) above p(class)."""
        asked = list(self.questions(world))
        (seen, labels), at = self._pool(world), world.targets.prediction
        if seen is None or at is None:
            says = torch.zeros((len(world.targets), len(asked)), dtype=torch.bool, device=labels.device)
        else:
            counts = joint_counts(seen, labels, 1 + int(max(seen.max(), at.max())), world.classes[self.label])
            shares = counts / counts.sum(1, keepdim=True).clamp_min(1)
            says = (shares > counts.sum(0) / counts.sum())[at][:, asked]
        return self.by_class(says, world, world.targets)

    def _pool(self, world: EvaluationData) -> tuple[Tensor | None, Tensor]:
        """Predictions, if there are any, and labels of everything that the attacker owns."""
        mine = (world.train, world.validation)
        seen = [part.prediction for part in mine if part.prediction is not None]
        labels = torch.cat([part.labels[self.label] for part in mine])
        return (torch.cat(seen) if len(seen) == len(mine) else None), labels


_LEAST = 1e-9


def joint_counts(
    prediction: Int[Tensor, " n"], labels: Int[Tensor, " n"], predictions: int, classes: int
) -> Float[Tensor, "predictions k"]:
    """How often each prediction comes with each label."""
    cells = torch.bincount(prediction * classes + labels, minlength=predictions * classes)
    return cells.reshape(predictions, classes).double()


def _first(labels: Int[Tensor, " n"], wanted: Int[Tensor, " k"]) -> Int[Tensor, " m"]:
    """Positions, in order, of the first `wanted[c]` rows of every class c."""
    onehot = torch.nn.functional.one_hot(labels, len(wanted))
    rank = (onehot.cumsum(0) * onehot).sum(1)
    return torch.nonzero(rank <= wanted[labels]).flatten()


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
