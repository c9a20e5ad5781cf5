"""What the mask itself hides: the same probes on the latent unmasked, masked, and under random masks of equal size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from adversaries import health
from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Value
from adversaries.goals.label import Attribute, LabelGoal, TaskLabel
from adversaries.statistics import estimates
from protocols.engine.task import Outcome, Rows, Task
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Arm
from protocols.mask_aware.findings import NAME, arms_flags
from protocols.mask_aware.tasks import InformedTask

PROBES = ("linear", "mlp")
DRAWS = {"smoke": 2, "standard": 5, "full": 10}
"""Random masks by budget."""

_SAME = "one mask for all images tells nothing of any of them"


class Probing(NamedTuple):
    """One probe of one reading (unmasked latent, masked latent, random mask, mask bits), in one arm."""

    goal: str
    reading: str
    draw: int
    probe: str
    arm: Arm
    seed: int


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Probes of latents, and of mask bits where masks differ between images.

    Args:
        context: the run.
        defense: digest of the fitted defense.
        per_image: whether masks differ between images.
        outcomes: what is known so far.
    """

    context: Context
    defense: str
    per_image: bool
    outcomes: dict[Probing, Outcome] = field(default_factory=dict)

    def evidence(self) -> list[Evidence]:
        """Rows for the task label; with more than the smoke budget for every private attribute too."""
        context = self.context
        goals: list[LabelGoal] = [TaskLabel(label=context.prepared.parts.task)]
        if context.budget.name != "smoke":
            names = [name for name in context.prepared.world.classes if name != goals[0].label]
            goals += [Attribute(label=name) for name in context.settings.attributes or names]
        each = [(goal.name, probe, seed) for goal in goals for probe in PROBES for seed in context.seeds]
        self._run(
            "probes of latents",
            (
                Probing(goal, reading, draw, probe, "attack", seed)
                for goal, probe, seed in each
                for reading, count in self._draws.items()
                for draw in range(count)
            ),
        )
        self._run("probes of images", (Probing(goal, "", 0, probe, "ceiling", seed) for goal, probe, seed in each))
        rows = []
        for goal in goals:
            chosen = {reading: self._best(goal.name, reading) for reading in self._draws}
            shuffled = [
                Probing(goal.name, reading, 0, probe, "shuffled", seed)
                for reading, probe in chosen.items()
                for seed in context.seeds
            ]
            self._run("shuffled probes", shuffled)
            for seed in context.seeds:
                rows += self._rows(goal, seed, chosen)
        return rows

    def _rows(self, goal: LabelGoal, seed: int, chosen: dict[str, str]) -> list[Evidence]:
        """One row per reading."""
        floor = _rate(goal.floor(self.context.prepared.world).cpu().numpy())
        goal_name, threat = f"lift:{goal.name}", threat_of("L4", AttackBudget(labels_per_class=self._labels))
        hits: dict[str, Rows] = {}
        rows = []
        for reading, probe in chosen.items():
            outcomes = self._attacks(goal.name, reading, probe, [seed])
            candidate = Candidate(adversary=probe, settings={"input": reading, **self.context.settings.options(probe)})
            broken = next((outcome for outcome in outcomes if outcome.status != "measured"), None)
            if broken is not None:
                rows.append(unmeasured(NAME, candidate, goal_name, threat, seed, broken.status, broken.reason))
                continue
            hits[reading] = np.mean([outcome.targets for outcome in outcomes], axis=0)
            shuffled = self.outcomes.get(Probing(goal.name, reading, 0, probe, "shuffled", seed))
            arms = Arms(
                attack=self._attack(hits[reading], len(outcomes), f"{NAME}/lift/{goal.name}/{reading}/{seed}"),
                floor=floor,
                ceiling=_arm(self.outcomes.get(Probing(goal.name, "", 0, probe, "ceiling", seed))),
                shuffled=_arm(shuffled),
            )
            rows.append(
                Evidence(
                    protocol=NAME,
                    adversary=probe,
                    goal=goal_name,
                    threat=threat,
                    seed=seed,
                    settings=dict(candidate.settings),
                    status="measured",
                    arms=arms,
                    metrics=self._differences(hits, goal.name, seed) if reading == "random mask" else {},
                    health=self._flags(arms, outcomes, shuffled, len(chosen)),
                    cost=Cost(seconds=round(sum(outcome.cost["seconds"] for outcome in outcomes), 4)),
                )
            )
        if not self.per_image:
            bits = Candidate(adversary="mask-bits")
            rows.append(unmeasured(NAME, bits, goal_name, threat_of("L4"), seed, "not_applicable", _SAME))
        return rows

    def _attack(self, hits: Rows, draws: int, key: str) -> Value:
        """A rate, or the mean over random masks of each target's hits."""
        self.context.rows[key] = hits if draws > 1 else hits.astype(np.uint8)
        if draws > 1:
            return estimates.mean(hits, "rate", rows=key)
        return _rate(hits).model_copy(update={"rows": key})

    def _differences(self, hits: dict[str, Rows], goal: str, seed: int) -> dict[str, Value]:
        """Paired: what the mask hides, what random masks hide, and how the mask compares with them."""
        if not {"unmasked latent", "masked latent", "random mask"} <= hits.keys():
            return {}
        whole, masked, random = (hits[name] for name in ("unmasked latent", "masked latent", "random mask"))
        pairs = {"hidden_by_random": whole - random, "masked_minus_random": masked - random}
        found = {"hidden_by_mask": estimates.difference(whole > 0, masked > 0)}
        for name, rows in pairs.items():
            key = f"{NAME}/lift/{goal}/{name}/{seed}"
            self.context.rows[key] = rows
            found[name] = estimates.mean(rows, "difference", rows=key)
        return found

    def _flags(self, arms: Arms, outcomes: Sequence[Outcome], shuffled: Outcome | None, cells: int) -> tuple[str, ...]:
        flags = {*self.context.common, *arms_flags(arms), *(flag for outcome in outcomes for flag in outcome.flags)}
        if shuffled is not None and shuffled.status == "measured":
            hits, n = int(shuffled.targets.sum()), len(shuffled.targets)
            chance = float(np.mean(shuffled.arrays["targets.chance"]))
            if estimates.binomial_upper_tail(hits, n, chance) < health.LEVEL / cells:
                flags.add("SHUFFLED_ABOVE_CHANCE")
        return tuple(sorted(flags))

    @property
    def _draws(self) -> dict[str, int]:
        """The readings, and under how many masks each is probed."""
        found = {"unmasked latent": 1, "masked latent": 1, "random mask": DRAWS.get(self.context.budget.name, 5)}
        return {**found, **({"mask bits": 1} if self.per_image else {})}

    def _attacks(self, goal: str, reading: str, probe: str, seeds: Sequence[int]) -> list[Outcome]:
        """What a probe found on one reading, under every mask."""
        trials = [(draw, seed) for draw in range(self._draws[reading]) for seed in seeds]
        return [self.outcomes[Probing(goal, reading, draw, probe, "attack", seed)] for draw, seed in trials]

    def _best(self, goal: str, reading: str) -> str:
        """The probe that is best on the attacker's validation part, over seeds and random masks."""

        def score(probe: str) -> float:
            outcomes = self._attacks(goal, reading, probe, self.context.seeds)
            measured = [outcome.validation.mean() for outcome in outcomes if outcome.status == "measured"]
            return float(np.mean(measured)) if len(measured) == len(outcomes) else -1.0

        return max(PROBES, key=score)

    @property
    def _labels(self) -> Any:
        return self.context.budget.labels[-1]

    def _run(self, stage: str, wanted: Iterable[Probing]) -> None:
        keys = list(wanted)
        self.outcomes.update(zip(keys, self.context.runner.run(stage, list(map(self._queued, keys))), strict=True))

    def _queued(self, key: Probing) -> QueuedTask:
        """A probe of a reading; or of the images, as every protocol keeps it."""
        context, images = self.context, key.arm == "ceiling"
        digests = context.prepared.digests
        probing = LabelTask(
            adversary=key.probe,
            settings=context.settings.options(key.probe),
            level="L2" if images else "L4",
            labels_per_class=self._labels,
            goal=key.goal,
            arm=key.arm,
            seed=key.seed,
            doubled=False,
            world=digests.clean if images else digests.world,
        )
        task: Task = probing
        if not images:
            task = InformedTask(label=probing, defense=self.defense, reading=key.reading, draw=key.draw)
        folder, read = (context.shared, "images") if images else (context.cells, key.reading)
        return QueuedTask(task, context.prepared.place, folder, f"{key.probe} on the {read}, {key.arm}")


def _rate(hits: Rows) -> Value:
    return estimates.rate(int(np.sum(hits)), len(hits))


def _arm(outcome: Outcome | None) -> Value | None:
    return None if outcome is None or outcome.status != "measured" else _rate(outcome.targets)
