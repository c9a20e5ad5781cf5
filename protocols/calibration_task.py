"""One calibration cell: plant a known leak, fit every candidate once, choose on validation, see who raises an alarm.

Axes: c candidates, n targets, q questions about classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adversaries import ratios
from adversaries.adversary import ADVERSARIES
from adversaries.assess import Graded, assess
from adversaries.goal import NOT_GRADED, Attribute, LabelGoal, make_goal
from adversaries.threat import ThreatModel
from adversaries.world import Part, World
from protocols.cells import Outcome, Task
from protocols.known_leaks import get_leak, plant
from protocols.places import Place
from vfc.config import configured
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

ALARM = 0.001
"""An alarm is a lower bound at this one-sided level that is above the floor."""

NOT_MEASURED, QUIET, ALARMED = 0, 1, 2
"""What became of a candidate, as a code."""


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

    def measure(self, place: Place) -> Outcome:
        """Fit and grade everybody; `arrays` hold a code per candidate and whether the chosen one raised an alarm."""
        started, used = time.perf_counter(), time.process_time()
        leak, goal = get_leak(self.leak, self.protocol), make_goal(self.goal)
        world = drawn(place.world(), self.sizes, self.seed)
        world = plant(world, leak, goal.label, self.task, self.strength, self.seed)
        graded = [self._graded(name, settings, world, goal) for name, settings in self.candidates]
        floor = goal.floor(world).cpu().numpy()
        alarms = [one is not None and alarm(one.targets.numpy(), floor) for one in graded]
        codes = [
            NOT_MEASURED if one is None else (ALARMED if a else QUIET) for one, a in zip(graded, alarms, strict=True)
        ]
        best = _best([None if one is None else one.validation.numpy() for one in graded])
        found = best is not None and alarms[best]
        if leak.each_class and isinstance(goal, Attribute):
            found = _any_class(graded, goal, world)
        return Outcome(
            status="measured",
            arrays={
                "codes": np.array(codes, np.uint8),
                "chosen": np.array([-1 if best is None else best], np.int64),
                "alarm": np.array([found], np.uint8),
                "accuracy": np.array([0.0 if best is None else float(graded[best].targets.double().mean())]),  # type: ignore[union-attr]
                "floor": np.array([float(floor.mean())]),
            },
            cost={"seconds": round(time.perf_counter() - started, 4), "cpu": round(time.process_time() - used, 4)},
        )

    def _graded(self, name: str, settings: dict[str, Any], world: World, goal: LabelGoal) -> Graded | None:
        """How one candidate did, or None where it does not apply. A crash ends the cell: power is not known then."""
        adversary = configured(ADVERSARIES.get(name), settings, name)
        threat = ThreatModel(level=adversary.level, labels_per_class="all" if adversary.level >= "L2" else None)
        seed = derive_seed("calibrate", name, sorted(map(str, settings.items())), self.seed)
        try:
            return assess(adversary, world, goal, threat, arm="attack", seed=self.seed, fit_seed=seed)
        except NotApplicableError:
            return None


def drawn(world: World, sizes: tuple[int, int, int], seed: int) -> World:
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
    return bool(ratios.difference_bounds(gained, lost, len(attack), level).low > 0)


def _best(validation: Sequence[Any]) -> int | None:
    """Who is best on the validation part; of equals the first."""
    scores = [-1.0 if rows is None or not len(rows) else float(rows.mean()) for rows in validation]
    best = int(np.argmax(scores))
    return best if scores[best] >= 0 else None


def _any_class(graded: Sequence[Graded | None], goal: Attribute, world: World) -> bool:
    """Whether the best on validation at some class raises an alarm there, corrected for the number of classes."""
    floors = goal.class_floor(world).cpu().numpy()
    for column in range(floors.shape[1]):
        held = [_answers(one, 0, column) for one in graded]
        best = _best(held)
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
