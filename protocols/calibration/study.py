"""Conducting a calibration: which cells, where, and what their outcomes say of protocols and adversaries."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from adversaries.adversary import ADVERSARIES
from adversaries.calibration import known_leaks
from adversaries.calibration.digest import VARIES, digest_of
from adversaries.calibration.known_leaks import TABLE, Planted
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.reconstruction import ADVERSARIES as RECONSTRUCTORS
from adversaries.health import FOUND_IN, OF
from protocols.attribute.study import attribute_ladder
from protocols.calibration import rebuilding, task
from protocols.calibration.rebuilding import RebuildingTask
from protocols.calibration.task import ALARMED, NOT_MEASURED, CalibrationTask, LabelTask
from protocols.engine.handles import EvaluationHandle
from protocols.engine.outside.families import Families
from protocols.engine.prepare import data_of, placed
from protocols.engine.prepared import world_digest
from protocols.engine.settings import Settings
from protocols.engine.task import Outcome
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.engine.trainer import Trainer
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.overrides import with_overrides
from protocols.inversion.study import rebuilders
from protocols.task_label.candidates import ladder
from vfc.data import Dataset
from vfc.factory import resolve
from vfc.splits import Parts

PRIVATE = {"digits": "ink", "gaussian": "attribute"}
"""The attribute that leaks, by data set: both are nearly independent of the task label."""

SIZES = (600, 150, 450)
"""Rows of the attacker's training and validation part and targets, at most; drawn anew for every seed."""

TASKS: dict[str, type[CalibrationTask]] = {"inversion": RebuildingTask}
"""Kinds of cells, by protocol; all others are about labels."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many runs.

    Args:
        full: seeds at full strength, and of nulls.
        partial: seeds at every other strength.
        strengths: besides 1.
        leaks: names of those that are run; empty for all.
    """

    full: int
    partial: int
    strengths: tuple[float, ...]
    leaks: tuple[str, ...] = ()

    def cells(self) -> list[tuple[Planted, float, int]]:
        """Every leak, strength and seed; all of one strength before the next, for whoever stops early."""
        chosen = [leak for leak in TABLE if not self.leaks or leak.name in self.leaks]
        found = [(leak, 1.0, seed) for leak in chosen for seed in range(self.full)]
        for strength in self.strengths:
            found += [(leak, strength, seed) for leak in chosen if not leak.null for seed in range(self.partial)]
        return found

    def but(self, strengths: Sequence[float], runs: int | None) -> Plan:
        """The same with other strengths besides full strength, and with other numbers of seeds; none: as it is."""
        plan = replace(self, strengths=tuple(dict.fromkeys(s for s in strengths if s < 1))) if strengths else self
        return plan if runs is None else replace(plan, full=runs, partial=min(runs, plan.partial))


PLANS = {
    "smoke": Plan(full=1, partial=0, strengths=(), leaks=("identity", "zeros", "noise")),
    "standard": Plan(full=OF, partial=10, strengths=(0.5, 0.25, 0.1)),
    "full": Plan(full=OF, partial=10, strengths=(0.75, 0.5, 0.25, 0.1, 0.05)),
}


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One data set, ready to be planted in.

    Args:
        dataset, parts: the data.
        world: in which everybody publishes the images themselves.
        places: where it is for the workers, by protocol, with the unintended models of that protocol's label.
        digests: of those.
        candidates: who competes, by protocol.
        labels: the attacked label, by protocol.
    """

    dataset: Dataset
    parts: Parts
    world: EvaluationData
    places: dict[str, EvaluationHandle]
    digests: dict[str, str]
    candidates: dict[str, list[Candidate]]
    labels: dict[str, str]


def prepare_calibration(settings: Settings, trainer: Trainer, scratch: Path) -> Prepared:
    """Load a data set and train its unintended models."""
    settings, dataset, parts = data_of(settings, resolve(settings.release))
    private = PRIVATE[dataset.name]
    families = Families.of(settings, dataset, twin=False)
    for_task = trainer.unintended(dataset, parts, families)
    for_attribute = trainer.attribute_models(dataset, parts, families, [private])[private]

    def part(rows: Any) -> Part:
        # Everybody is told the task label itself: the strictest floor.
        return Part(images=rows.images, release=rows.images, labels=rows.labels, prediction=rows.labels[parts.task])

    world = EvaluationData(
        train=part(parts.pool_train),
        validation=part(parts.pool_validation),
        targets=part(parts.targets),
        classes=dataset.classes,
    )
    names = list(families.unintended)
    competing = {
        "adaptive-probe": ladder(names, None),
        "attribute": attribute_ladder(names, None),
        "inversion": rebuilders("standard"),
    }
    models = {"adaptive-probe": for_task, "attribute": for_attribute, "inversion": {}}
    return Prepared(
        dataset=dataset,
        parts=parts,
        world=world,
        places={name: placed(world, models[name], scratch, trainer.device, None) for name in competing},
        digests={name: world_digest(world, models[name]) for name in competing},
        candidates={
            name: [with_overrides(c, settings) for c in found if _competes(name, c)]
            for name, found in competing.items()
        },
        labels={"adaptive-probe": parts.task, "attribute": private, "inversion": "identification"},
    )


def _competes(protocol: str, candidate: Candidate) -> bool:
    """Labels: who knows no more than labels. Images: who asks no defense, because a planted release has none."""
    if protocol == "inversion":
        return not RECONSTRUCTORS.get(candidate.adversary).per_target
    return ADVERSARIES.get(candidate.adversary).level <= "L2"


def calibrate(prepared: Prepared, plan: Plan, runner: TaskRunner, folder: Path) -> dict[str, Any]:
    """Run all cells of one data set and return its part of the results."""
    cells = plan.cells()
    orders = [
        QueuedTask(
            task=TASKS.get(leak.protocol, LabelTask)(
                leak=leak.name,
                protocol=leak.protocol,
                strength=strength,
                seed=seed,
                goal=f"{leak.goal}:{prepared.labels[leak.protocol]}",
                task=prepared.parts.task,
                candidates=[(c.adversary, dict(c.settings)) for c in prepared.candidates[leak.protocol]],
                sizes=SIZES,
                world=prepared.digests[leak.protocol],
                leaks=source_digest(),
            ),
            place=prepared.places[leak.protocol],
            folder=folder,
            title=f"{prepared.dataset.name}, {leak.protocol}, {leak.name} at {strength}, seed {seed}",
        )
        for leak, strength, seed in cells
    ]
    outcomes = runner.run(f"calibrating on {prepared.dataset.name}", orders)
    return {
        "n": min(SIZES[2], len(prepared.world.targets)),
        "cpu_seconds": round(sum(outcome.cost.get("cpu", 0.0) for outcome in outcomes), 1),
        "failed": sorted({outcome.reason or "" for outcome in outcomes if outcome.status != "measured"}),
        "protocols": of_protocols(cells, outcomes, prepared),
        "adversaries": of_adversaries(cells, outcomes, prepared),
    }


def of_protocols(
    cells: Sequence[tuple[Planted, float, int]], outcomes: Sequence[Outcome], prepared: Prepared
) -> dict[str, Any]:
    """By protocol: alarms and runs of whoever is chosen, by leak and strength, and by null."""
    found: dict[str, Any] = {}
    for (leak, strength, _), outcome in zip(cells, outcomes, strict=True):
        facts = found.setdefault(
            leak.protocol,
            {"goal": f"{leak.goal}:{prepared.labels[leak.protocol]}", "leaks": {}, "nulls": {}, "chosen": {}},
        )
        counts = (
            facts["nulls"].setdefault(leak.name, [0, 0])
            if leak.null
            else facts["leaks"].setdefault(leak.name, {}).setdefault(f"{strength:g}", [0, 0])
        )
        # A cell that crashed found nothing.
        counts[1] += 1
        if outcome.status == "measured":
            counts[0] += int(outcome.arrays["alarm"][0])
            chosen = int(outcome.arrays["chosen"][0])
            names = facts["chosen"].setdefault(leak.name, Counter())
            names[prepared.candidates[leak.protocol][chosen].name if chosen >= 0 else "nobody"] += 1
    for facts in found.values():
        facts["smallest"] = {name: smallest(strengths) for name, strengths in facts["leaks"].items()}
        facts["chosen"] = {name: counts.most_common(1)[0][0] for name, counts in facts["chosen"].items()}
    return found


def of_adversaries(
    cells: Sequence[tuple[Planted, float, int]], outcomes: Sequence[Outcome], prepared: Prepared
) -> dict[str, Any]:
    """By digest of code and settings: what each adversary finds by itself, whoever is chosen."""
    found: dict[str, Any] = {}
    for (leak, strength, _), outcome in zip(cells, outcomes, strict=True):
        if outcome.status != "measured":
            continue
        for candidate, code in zip(prepared.candidates[leak.protocol], outcome.arrays["codes"], strict=True):
            facts = found.setdefault(
                digest_of(candidate.adversary, candidate.settings),
                {
                    "adversary": candidate.adversary,
                    "settings": {k: v for k, v in candidate.settings.items() if k not in VARIES},
                    "leaks": defaultdict(dict),
                    "nulls": [0, 0],
                },
            )
            if code == NOT_MEASURED:
                continue
            counts = facts["nulls"] if leak.null else facts["leaks"][leak.name].setdefault(f"{strength:g}", [0, 0])
            counts[0] += int(code == ALARMED)
            counts[1] += 1
    return found


def smallest(strengths: dict[str, list[int]]) -> float | None:
    """The smallest strength from which on, up to full strength, the leak is found; None if not even that."""
    found = None
    for strength in sorted(strengths, key=float, reverse=True):
        alarms, runs = strengths[strength]
        if alarms * OF < FOUND_IN * runs:
            break
        found = float(strength)
    return found


def failures(results: dict[str, Any]) -> list[str]:
    """What a calibration must not show: a known leak missed at full strength, alarms on nulls, cells that crashed."""
    found = []
    for dataset, facts in results["datasets"].items():
        found += [f"{dataset}: a cell failed: {reason}" for reason in facts["failed"]]
        for protocol, numbers in facts["protocols"].items():
            for leak, strengths in numbers["leaks"].items():
                alarms, runs = strengths.get("1", (0, 0))
                if alarms * OF < FOUND_IN * runs:
                    found.append(f"{dataset}: {protocol} finds {leak} in {alarms} of {runs} runs only")
            # At most one alarm in thirty runs per protocol; in fewer runs none.
            alarms, runs = (sum(counts[i] for counts in numbers["nulls"].values()) for i in (0, 1))
            if alarms * OF > runs:
                found.append(f"{dataset}: {protocol} raises {alarms} alarms in {runs} runs on nulls")
    return found


def bare(settings: Settings, dataset: str) -> Settings:
    """The settings of one data set's part."""
    return replace(settings, dataset=dataset, release="identity")


@cache
def source_digest() -> str:
    """Digest of what plants leaks and of what decides on alarms, which calibration results depend on."""
    files = [module.__file__ for module in (known_leaks, task, rebuilding)]
    contents = [Path(file).read_bytes() for file in files if file is not None]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]
