"""What the mask itself hides: the same probes on the latent unmasked, masked, and under random masks of equal size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adversaries import health
from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Value
from adversaries.goals.label import Attribute, LabelGoal, TaskLabel
from adversaries.statistics import estimates
from adversaries.threat import Level
from protocols.engine.task import Outcome
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Arm
from protocols.mask_aware.findings import NAME
from protocols.mask_aware.tasks import InformedTask

PROBES = ("linear", "mlp")
DRAWS = {"smoke": 2, "standard": 5, "full": 10}
"""Random masks by budget."""

_SAME = "one mask for all images tells nothing of any of them"


@dataclass(frozen=True, kw_only=True)
class Lift:
    """Probes of latents, and of mask bits where masks differ between images.

    Args:
        context: the run.
        defense: digest of the fitted defense.
        per_image: whether masks differ between images.
    """

    context: Context
    defense: str
    per_image: bool

    def evidence(self) -> list[Evidence]:
        """Rows for the task label; with more than the smoke budget for every private attribute too."""
        goals: list[LabelGoal] = [TaskLabel(label=self.context.prepared.parts.task)]
        if self.context.budget.name != "smoke":
            world = self.context.prepared.world
            names = self.context.settings.attributes or [name for name in world.classes if name != goals[0].label]
            goals += [Attribute(label=name) for name in names]
        readings = [("unmasked latent", 0), ("masked latent", 0)]
        readings += [("random mask", draw) for draw in range(DRAWS.get(self.context.budget.name, 5))]
        readings += [("mask bits", 0)] if self.per_image else []
        wanted = [(goal, reading, draw, probe) for goal in goals for reading, draw in readings for probe in PROBES]
        found = self._do("probes of latents", wanted, "attack")
        ceilings = self._ceilings([(goal, probe) for goal in goals for probe in PROBES])
        rows = []
        for goal in goals:
            chosen = {reading: self._best(found, goal, reading) for reading in dict.fromkeys(r for r, _ in readings)}
            shuffled = self._do(
                "shuffled probes", [(goal, reading, 0, probe) for reading, probe in chosen.items()], "shuffled"
            )
            for seed in self.context.seeds:
                rows += self._rows(goal, seed, found, chosen, shuffled, ceilings)
        return rows

    def _rows(
        self,
        goal: LabelGoal,
        seed: int,
        found: dict[Any, Outcome],
        chosen: dict[str, str],
        shuffled: dict[Any, Outcome],
        ceilings: dict[Any, Outcome],
    ) -> list[Evidence]:
        """One row per reading."""
        floor = goal.floor(self.context.prepared.world).cpu().numpy()
        hits: dict[str, Any] = {}
        rows = []
        for reading, probe in chosen.items():
            outcomes = [o for (g, r, _, p, s), o in found.items() if (g, r, p, s) == (goal.name, reading, probe, seed)]
            broken = next((outcome for outcome in outcomes if outcome.status != "measured"), None)
            facts: dict[str, Any] = {
                "protocol": NAME,
                "adversary": probe,
                "goal": f"lift:{goal.name}",
                "threat": threat_of("L4", AttackBudget(labels_per_class=self._labels)),
                "seed": seed,
                "settings": {"input": reading, **self.context.settings.options(probe)},
            }
            if broken is not None:
                doubts = ("CRASHED",) if broken.status == "failed" else ()
                facts["status"] = broken.status
                rows.append(Evidence(**facts, reason=broken.reason, health=doubts))
                continue
            hits[reading] = np.mean([outcome.targets for outcome in outcomes], axis=0)
            arms = Arms(
                attack=self._attack(hits[reading], len(outcomes), f"{NAME}/lift/{goal.name}/{reading}/{seed}"),
                floor=_rate(floor),
                ceiling=_arm(ceilings.get((goal.name, probe, seed))),
                shuffled=_arm(shuffled.get((goal.name, reading, 0, probe, seed))),
            )
            flags = self._flags(arms, outcomes, shuffled.get((goal.name, reading, 0, probe, seed)), len(chosen))
            metrics = self._differences(hits, goal, seed) if reading == "random mask" else {}
            cost = Cost(seconds=round(sum(outcome.cost["seconds"] for outcome in outcomes), 4))
            rows.append(Evidence(**facts, status="measured", arms=arms, metrics=metrics, health=flags, cost=cost))
        if not self.per_image:
            rows.append(
                Evidence(
                    protocol=NAME, adversary="mask-bits", goal=f"lift:{goal.name}", threat=threat_of("L4"), seed=seed,
                    status="not_applicable", reason=_SAME,
                )
            )  # fmt: skip
        return rows

    def _attack(self, hits: Any, draws: int, key: str) -> Value:
        """A rate, or the mean over random masks of each target's hits."""
        self.context.rows[key] = hits if draws > 1 else hits.astype(np.uint8)
        if draws > 1:
            return estimates.mean(hits, "rate", rows=key)
        return _rate(hits).model_copy(update={"rows": key})

    def _differences(self, hits: dict[str, Any], goal: LabelGoal, seed: int) -> dict[str, Value]:
        """Paired: what the mask hides, what random masks hide, and how the mask compares with them."""
        if not {"unmasked latent", "masked latent", "random mask"} <= hits.keys():
            return {}
        whole, masked, random = (hits[name] for name in ("unmasked latent", "masked latent", "random mask"))
        pairs = {"hidden_by_random": whole - random, "masked_minus_random": masked - random}
        found = {"hidden_by_mask": estimates.difference(whole > 0, masked > 0)}
        for name, rows in pairs.items():
            key = f"{NAME}/lift/{goal.name}/{name}/{seed}"
            self.context.rows[key] = rows
            found[name] = estimates.mean(rows, "difference", rows=key)
        return found

    def _flags(self, arms: Arms, outcomes: Sequence[Outcome], shuffled: Outcome | None, cells: int) -> tuple[str, ...]:
        flags = set(self.context.common) | {flag for outcome in outcomes for flag in outcome.flags}
        floor = arms.floor or Value.unknown("no floor")
        if arms.ceiling is None or (arms.ceiling.low or 0.0) <= (floor.high or 1.0):
            flags.add("CEILING_MISSED")
        if arms.attack is not None and (arms.attack.low or 0.0) <= (floor.value or 0.0):
            flags.add("AT_FLOOR")
        if shuffled is not None and shuffled.status == "measured":
            hits, n = int(shuffled.targets.sum()), len(shuffled.targets)
            chance = float(np.mean(shuffled.arrays["targets.chance"]))
            if estimates.binomial_upper_tail(hits, n, chance) < health.LEVEL / cells:
                flags.add("SHUFFLED_ABOVE_CHANCE")
        return tuple(sorted(flags))

    def _best(self, found: dict[Any, Outcome], goal: LabelGoal, reading: str) -> str:
        """The probe that is best on the attacker's validation part, over seeds and random masks."""

        def score(probe: str) -> float:
            outcomes = [o for (g, r, _, p, _), o in found.items() if (g, r, p) == (goal.name, reading, probe)]
            measured = [outcome.validation.mean() for outcome in outcomes if outcome.status == "measured"]
            return float(np.mean(measured)) if len(measured) == len(outcomes) else -1.0

        return max(PROBES, key=score)

    @property
    def _labels(self) -> Any:
        return self.context.budget.labels[-1]

    def _task(self, goal: LabelGoal, probe: str, arm: Arm, seed: int, world: str, level: Level) -> LabelTask:
        return LabelTask(
            adversary=probe,
            settings=self.context.settings.options(probe),
            level=level,
            labels_per_class=self._labels,
            goal=goal.name,
            arm=arm,
            seed=seed,
            doubled=False,
            world=world,
        )

    def _do(
        self, stage: str, wanted: Sequence[tuple[LabelGoal, str, int, str]], arm: Arm
    ) -> dict[tuple[str, str, int, str, int], Outcome]:
        """Outcomes by goal, reading, draw, probe and seed."""
        prepared = self.context.prepared
        keys, orders = [], []
        for goal, reading, draw, probe in wanted:
            for seed in self.context.seeds:
                probing = self._task(goal, probe, arm, seed, prepared.digests.world, "L4")
                task = InformedTask.of(probing, self.defense, reading=reading, draw=draw)
                keys.append((goal.name, reading, draw, probe, seed))
                orders.append(QueuedTask(task, prepared.place, self.context.cells, f"{probe} on the {reading}, {arm}"))
        return dict(zip(keys, self.context.runner.run(stage, orders), strict=True))

    def _ceilings(self, wanted: Sequence[tuple[LabelGoal, str]]) -> dict[tuple[str, str, int], Outcome]:
        """The probes on the images, as every protocol keeps them."""
        prepared = self.context.prepared
        keys = [(goal, probe, seed) for goal, probe in wanted for seed in self.context.seeds]
        orders = [
            QueuedTask(
                self._task(goal, probe, "ceiling", seed, prepared.digests.clean, "L2"),
                prepared.place,
                self.context.shared,
                f"{probe} on the images",
            )
            for goal, probe, seed in keys
        ]
        outcomes = self.context.runner.run("probes of images", orders)
        return {(g.name, probe, seed): o for (g, probe, seed), o in zip(keys, outcomes, strict=True)}


def _rate(hits: Any) -> Value:
    return estimates.rate(int(np.sum(hits)), len(hits))


def _arm(outcome: Outcome | None) -> Value | None:
    return None if outcome is None or outcome.status != "measured" else _rate(outcome.targets)
