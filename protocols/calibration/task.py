"""One calibration cell: plant a known leak, fit every candidate once, choose on validation, see who raises an alarm.

Axes: c candidates, n targets, q questions about classes.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adversaries.adversary import ADVERSARIES
from adversaries.calibration.known_leaks import Planted, get_leak, plant
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import Graded, assess
from adversaries.goals.label import NOT_GRADED, Attribute, LabelGoal, make_goal
from adversaries.statistics import intervals
from adversaries.threat import ThreatModel, parse_level
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from vfc.config import configured
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

ALARM = 0.001
"""An alarm is a lower bound at this one-sided level that is above the floor."""

NOT_MEASURED, QUIET, ALARMED = 0, 1, 2
"""The outcome of a candidate, as a code."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one candidate found.

    Args:
        validation: its score on the attacker's validation part, by which one is chosen.
        rate: of its hits on the targets.
        alarm: whether it raised one.
    """

    validation: float
    rate: float
    alarm: bool


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What everybody found.

    Args:
        candidates: None for whom it does not apply.
        floor: rate of hits without the release.
        worst: whether any class raised an alarm; None where that is not asked.
    """

    candidates: Sequence[Found | None]
    floor: float
    worst: bool | None = None

    @property
    def chosen(self) -> int | None:
        """The candidate that is best on the validation part; of equals the first."""
        return _best([None if one is None else one.validation for one in self.candidates])

    @property
    def alarm(self) -> bool:
        """Whether the chosen one raised an alarm, or where classes are asked about, the chosen one of any class."""
        if self.worst is not None:
            return self.worst
        best = None if self.chosen is None else self.candidates[self.chosen]
        return best is not None and best.alarm


@dataclass(frozen=True, kw_only=True)
class CalibrationTask(Task):
    """One leak or null, at one strength, with one seed.

    Args:
        leak, protocol: a row of `known_leaks.TABLE`.
        strength: share of images that carry the leak.
        seed: of the planting, of the rows drawn, and of the adversaries.
        goal: name of the goal.
        task: the task label.
        candidates: adversary and settings of everybody who competes, in the order that breaks ties.
        sizes: how many rows of the attacker's training part, of its validation part and of the targets are drawn.
        world: digest of the world that is planted in.
        leaks: digest of the planting's code.
    """

    leak: str
    protocol: str
    strength: float
    seed: int
    goal: str
    task: str
    candidates: list[tuple[str, dict[str, Any]]]
    sizes: tuple[int, int, int]
    world: str
    leaks: str

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Fit and grade everybody; `arrays` hold a code per candidate and whether the chosen one raised an alarm."""
        started, used = time.perf_counter(), time.process_time()
        leak = get_leak(self.leak, self.protocol)
        world = drawn(place.world(), self.sizes, self.seed)
        label = self.task if leak.goal == "reconstruction" else make_goal(self.goal).label
        tried = self._tried(plant(world, leak, label, self.task, self.strength, self.seed), leak)
        codes = [NOT_MEASURED if one is None else (ALARMED if one.alarm else QUIET) for one in tried.candidates]
        chosen = tried.chosen
        winner = None if chosen is None else tried.candidates[chosen]
        return Outcome(
            status="measured",
            arrays={
                "codes": np.array(codes, np.uint8),
                "chosen": np.array([-1 if chosen is None else chosen], np.int64),
                "alarm": np.array([tried.alarm], np.uint8),
                "accuracy": np.array([0.0 if winner is None else winner.rate]),
                "floor": np.array([tried.floor]),
            },
            cost={"seconds": round(time.perf_counter() - started, 4), "cpu": round(time.process_time() - used, 4)},
        )

    @abstractmethod
    def _tried(self, world: EvaluationData, leak: Planted) -> Tried:
        """Fit and grade everybody once. A crash ends the cell: power is not known then."""

    def _fit_seed(self, name: str, settings: dict[str, Any]) -> int:
        return derive_seed("calibrate", name, sorted(map(str, settings.items())), self.seed)


@dataclass(frozen=True, kw_only=True)
class LabelTask(CalibrationTask):
    """The leak tells a label."""

    def _tried(self, world: EvaluationData, leak: Planted) -> Tried:
        goal = make_goal(self.goal)
        graded = [self._graded(name, settings, world, goal) for name, settings in self.candidates]
        floor = goal.floor(world).cpu().numpy()
        found = [
            None
            if one is None
            else Found(
                validation=float(one.validation.double().mean()),
                rate=float(one.targets.double().mean()),
                alarm=alarm(one.targets.numpy(), floor),
            )
            for one in graded
        ]
        each_class = leak.each_class and isinstance(goal, Attribute)
        return Tried(
            candidates=found,
            floor=float(floor.mean()),
            worst=_any_class(graded, goal, world) if each_class and isinstance(goal, Attribute) else None,
        )

    def _graded(self, name: str, settings: dict[str, Any], world: EvaluationData, goal: LabelGoal) -> Graded | None:
        """How one candidate did, or None where it does not apply."""
        adversary = configured(ADVERSARIES.get(name), settings, name)
        threat = ThreatModel(
            level=parse_level(adversary.level), labels_per_class="all" if adversary.level >= "L2" else None
        )
        try:
            return assess(
                adversary, world, goal, threat, arm="attack", seed=self.seed, fit_seed=self._fit_seed(name, settings)
            )
        except NotApplicableError:
            return None


def drawn(world: EvaluationData, sizes: tuple[int, int, int], seed: int) -> EvaluationData:
    """Random rows of every part; all of a part that has no more."""
    parts = {}
    for name, size in zip(("train", "validation", "targets"), sizes, strict=True):
        part: Part = getattr(world, name)
        generator = torch.Generator().manual_seed(derive_seed("calibration rows", name, seed))
        order = torch.randperm(len(part), generator=generator)[:size]
        parts[name] = part.take(order.to(part.release.device))
    return replace(world, train=parts["train"], validation=parts["validation"], targets=parts["targets"])


def alarm(hits: Any, floor: Any, level: float = ALARM) -> bool:
    """Whether the lower bound of how much more often the attack hits than the floor is above 0, on the same targets.

    Paired, because the floor's luck counts too: where a table from predictions is no better than a coin, it may stand
    at .45 on some targets, and a constant guess then at .55, with a lower bound above .45.

    Args:
        hits: of the attack, per target.
        floor: of the floor, on the same targets.
        level: one-sided level of the bound.
    """
    attack, without = np.asarray(hits, dtype=bool), np.asarray(floor, dtype=bool)
    gained, lost = int((attack & ~without).sum()), int((without & ~attack).sum())
    return bool(intervals.difference_bounds(gained, lost, len(attack), level).low > 0)


def _best(validation: Sequence[float | None]) -> int | None:
    scores = [-1.0 if score is None else score for score in validation]
    best = int(np.argmax(scores))
    return best if scores[best] >= 0 else None


def _any_class(graded: Sequence[Graded | None], goal: Attribute, world: EvaluationData) -> bool:
    """Whether the best on validation at some class raises an alarm there, corrected for the number of classes."""
    floors = goal.class_floor(world).cpu().numpy()
    for column in range(floors.shape[1]):
        held = [_answers(one, 0, column) for one in graded]
        best = _best([None if rows is None or not len(rows) else float(rows.mean()) for rows in held])
        if best is None:
            continue
        floor = floors[:, column]
        if alarm(_answers(graded[best], 1, column), floor[floor != NOT_GRADED], ALARM / floors.shape[1]):
            return True
    return False


def _answers(graded: Graded | None, part: int, column: int) -> Any:
    if graded is None or graded.classes is None:
        return None
    codes = graded.classes[part][:, column].numpy()
    return codes[codes != NOT_GRADED]
