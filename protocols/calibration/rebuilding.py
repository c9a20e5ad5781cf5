"""A calibration cell of `inversion`: who finds the originals again when releases leak only on average over repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from adversaries.calibration.known_leaks import Planted
from adversaries.evaluation_data import EvaluationData
from adversaries.goals.reconstruction import ADVERSARIES, ImageScores, assess_images
from adversaries.statistics import intervals
from adversaries.threat import ThreatModel, parse_level
from protocols.calibration.task import ALARM, CalibrationTask, Found, Tried
from vfc.config import configured
from vfc.errors import NotApplicableError


@dataclass(frozen=True, kw_only=True)
class RebuildingTask(CalibrationTask):
    """The leak tells the image: an alarm is more originals found in the gallery than the target's answer explains."""

    def _tried(self, world: EvaluationData, leak: Planted) -> Tried:
        first = _first_of_repeats(world) if leak.repeated else world
        found: list[Found | None] = []
        floor = 0.0
        for name, settings in self.candidates:
            one, chance = self._found(name, settings, world, first)
            found.append(one)
            floor = max(floor, chance)
        return Tried(candidates=found, floor=floor)

    def _found(
        self, name: str, settings: dict[str, Any], repeated: EvaluationData, first: EvaluationData
    ) -> tuple[Found | None, float]:
        """What one candidate found, and the rate of chance."""
        adversary = configured(ADVERSARIES.get(name), settings, name)
        try:
            graded = assess_images(
                adversary,
                repeated if adversary.reads_repeats else first,
                self.task,
                ThreatModel(level=parse_level(adversary.level), pairs="all"),
                arm="attack",
                seed=self.seed,
                fit_seed=self._fit_seed(name, settings),
            )
        except NotApplicableError:
            return None, 0.0
        rule = max(graded.validation.rank, key=lambda rule: _hits(graded.validation, rule))
        hits, n = _hits(graded.targets, rule), len(graded.targets.chance)
        chance = float(graded.targets.chance.double().mean())
        low, _ = intervals.clopper_pearson(hits, n, ALARM)
        held = _hits(graded.validation, rule) / len(graded.validation.chance)
        return Found(validation=held, rate=hits / n, alarm=bool(low > chance)), chance


def _hits(scores: ImageScores, rule: str) -> int:
    return int((scores.rank[rule] == 0).sum())


def _first_of_repeats(world: EvaluationData) -> EvaluationData:
    train, validation, targets = (
        replace(part, release=part.release[:, 0]) for part in (world.train, world.validation, world.targets)
    )
    return replace(world, train=train, validation=validation, targets=targets)
