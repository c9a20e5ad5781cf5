"""What of a prepared evaluation is frozen: the attacker's pool, releases, predictions, and the grader's answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.label import LabelGoal, make_goal
from adversaries.knowledge import first_per_class
from protocols.engine.prepared import Prepared
from vfc.artifact import write_bytes
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

SHARED = ("pool", "truth", "images")
"""Files that are the same for every defense of a suite."""

OWN = ("attack", "predictions", "answers")
"""Files of one defense; predictions only where it has a target."""


@dataclass(frozen=True, kw_only=True)
class Freezer:
    """Writes what a suite keeps of one defense into a folder.

    Args:
        suite: its name, which is part of every target's number.
        seed: attack seed of our own attacks, by which labels are granted and permuted.
        labels: how many labelled releases per class are granted.
        attributes: labels besides the task's that suites ask for.
    """

    suite: str
    seed: int
    labels: Sequence[int]
    attributes: Sequence[str]

    def freeze(self, prepared: Prepared, folder: Path) -> None:
        """Write all files.

        Raises:
            UserError: the originals are unknown, so nothing can be frozen.
        """
        files = self.arrays(prepared.world, prepared.parts.task, prepared.name)
        for name, arrays in files.items():
            write_bytes(_pack(arrays), folder / f"{name}.safetensors")

    def arrays(self, world: EvaluationData, task: str, defense: str) -> dict[str, dict[str, Tensor]]:
        """What every file holds.

        Args:
            world: everything about the evaluation.
            task: the label that the target predicts.
            defense: name in the suite.

        Raises:
            UserError: the originals are unknown, so nothing can be frozen.
        """
        if world.train.images is None or world.validation.images is None or world.targets.images is None:
            raise UserError("expected the original images, got releases alone", "name a defense")
        goals = [make_goal(f"task:{task}"), *(make_goal(f"attribute:{name}") for name in self.attributes)]
        pool = {"train.images": world.train.images, "validation.images": world.validation.images}
        truth: dict[str, Tensor] = {}
        answers: dict[str, Tensor] = {}
        for goal in goals:
            shuffled = self._shuffled(world, goal)
            pool |= self._labelled(world, shuffled, goal.label)
            truth[goal.label] = world.targets.labels[goal.label]
            truth[f"{goal.label}.shuffled"] = shuffled.targets.labels[goal.label]
            answers |= _answers(world, shuffled, goal)
        parts = {"train": world.train, "validation": world.validation, "targets": world.targets}
        attack = {f"{name}.release": part.release for name, part in parts.items()}
        attack |= {f"{name}.call": part.call for name, part in parts.items() if part.call is not None}
        attack["targets.index"] = self._index(world.targets, defense)
        predictions = {f"{name}.prediction": p.prediction for name, p in parts.items() if p.prediction is not None}
        found = {
            "pool": pool,
            "truth": truth,
            "images": {"images": world.targets.images},
            "attack": attack,
            "predictions": predictions,
            "answers": answers,
        }
        return {name: arrays for name, arrays in found.items() if arrays}

    def _order(self, world: EvaluationData) -> Tensor:
        """The order in which our own attacks are granted labelled releases, in their first draw."""
        generator = torch.Generator().manual_seed(derive_seed("labels", self.seed))
        return torch.randperm(len(world.train), generator=generator)

    def _shuffled(self, world: EvaluationData, goal: LabelGoal) -> EvaluationData:
        """The world with one label permuted as in our own shuffled controls; rows of the pool in granted order."""
        generator = torch.Generator().manual_seed(derive_seed("shuffled", goal.label, self.seed))
        ordered = EvaluationData(
            train=world.train.take(self._order(world).to(world.train.release.device)),
            validation=world.validation,
            targets=world.targets,
            classes=world.classes,
        )
        return ordered.shuffled(goal.label, generator)

    def _labelled(self, world: EvaluationData, shuffled: EvaluationData, label: str) -> dict[str, Tensor]:
        """The pool's labels as they are and permuted, and the rows that are granted with so many labels per class."""
        order = self._order(world)
        permuted = torch.empty_like(world.train.labels[label])
        permuted[order] = shuffled.train.labels[label]
        found = {
            f"train.{label}": world.train.labels[label],
            f"train.{label}.shuffled": permuted,
            f"validation.{label}": world.validation.labels[label],
            f"validation.{label}.shuffled": shuffled.validation.labels[label],
        }
        for name, values in ((label, world.train.labels[label]), (f"{label}.shuffled", permuted)):
            for count in self.labels:
                try:
                    rows = first_per_class(values[order], count, world.classes[label])
                except NotApplicableError:  # the pool does not hold so many of every class
                    continue
                found[f"train.{name}.rows@{count}"] = order[rows]
        return found

    def _index(self, targets: Part, defense: str) -> Tensor:
        """A number for every target that tells suites, versions, defenses and releases apart."""
        values = targets.release.contiguous()
        rows = values.reshape(len(values), -1).view(torch.uint8).numpy()
        numbers = [
            int.from_bytes(hashlib.sha256(f"{self.suite} {defense} {place} ".encode() + row.tobytes()).digest()[:7])
            for place, row in enumerate(rows)
        ]
        return torch.tensor(numbers, dtype=torch.int64)


def _answers(world: EvaluationData, shuffled: EvaluationData, goal: LabelGoal) -> dict[str, Tensor]:
    """Which targets count, and on which of them the best guess without the release is right."""
    label = goal.label
    return {
        f"{label}.graded": goal.graded(world, world.targets),
        f"{label}.shuffled.graded": goal.graded(shuffled, shuffled.targets),
        f"{label}.floor": goal.floor(world).to(torch.uint8),
    }


def targets_digest(attack: Mapping[str, Tensor]) -> str:
    """SHA-256 of the numbers of all targets in their order, and so of their releases."""
    return hashlib.sha256(attack["targets.index"].numpy().tobytes()).hexdigest()


def _pack(arrays: Mapping[str, Tensor]) -> bytes:
    # Copies, because safetensors refuses tensors that share memory.
    return safetensors.torch.save({name: each.cpu().contiguous().clone() for name, each in sorted(arrays.items())})
