"""Whether releases give the mask away: tasks, and the evidence that comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from adversaries.evidence import Arms, Cost, Evidence, Value
from adversaries.statistics import estimates, levels
from protocols.engine.task import Outcome
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.mask_aware.tasks import MaskTask

NAME = "mask-aware"
MARGIN = 0.02
"""Twice the steps may raise the Jaccard index by this much before the inference counts as not converged."""


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What inferring the mask gave.

    Args:
        metric: `mask.recovery`.
        evidence: one row per seed.
    """

    metric: Value
    evidence: list[Evidence]


def recovered(context: Context, defense: str) -> Recovered:
    """Infer the mask from releases, once per seed, and again with twice the steps where the budget checks that."""
    prepared = context.prepared
    turns = [
        (seed, times) for times in ((1,) if context.budget.doubling == "none" else (1, 2)) for seed in context.seeds
    ]
    orders = [
        QueuedTask(
            task=MaskTask(
                world=prepared.digests.world,
                defense=defense,
                seed=seed,
                settings={},
                latent=context.settings.options("mask-latent"),
                times=times,
            ),
            place=prepared.place,
            folder=context.cells,
            title=f"mask inference{', doubled' * (times - 1)}",
        )
        for seed, times in turns
    ]
    outcomes = dict(zip(turns, context.runner.run("mask inference", orders), strict=True))
    evidence = [_row(context, seed, outcomes[seed, 1], outcomes.get((seed, 2))) for seed in context.seeds]
    values = [row.arms.attack or Value.unknown(row.reason or row.status) for row in evidence]
    metric = levels.over_seeds(values)
    flags = tuple(sorted({*metric.flags, *(flag for row in evidence for flag in row.health)}))
    return Recovered(metric=metric.model_copy(update={"flags": flags}), evidence=evidence)


def _row(context: Context, seed: int, outcome: Outcome, doubled: Outcome | None) -> Evidence:
    name, goal, threat, cost = "mask-inference", "mask", threat_of("L4"), Cost.model_validate(outcome.cost)
    if outcome.status != "measured":
        row = unmeasured(NAME, Candidate(adversary=name), goal, threat, seed, outcome.status, outcome.reason)
        return row.model_copy(update={"cost": cost})
    found = outcome.arrays
    key = f"{NAME}/mask/{seed}"
    rows: Any = np.asarray(found["jaccard"])
    context.rows[key] = rows
    floor, ceiling = estimates.mean(found["random"], "rate"), estimates.mean(found["control"], "rate")
    arms = Arms(attack=estimates.mean(rows, "rate", rows=key), floor=floor, ceiling=ceiling)
    metrics = {"random": floor}
    for way in ("learned", "optimized"):
        if way in found:
            share = np.asarray(found[way]) / max(float(np.mean(found["spread"])), 1e-12)
            metrics[f"latent_r2.{way}"] = estimates.mean(1 - share, "share")
    flags = {*context.common, *arms_flags(arms)}
    if doubled is None or doubled.status != "measured":
        flags.add("CONVERGENCE_UNCHECKED")
    else:
        metrics["doubled"] = estimates.mean(doubled.arrays["jaccard"], "rate")
        if float(np.mean(doubled.arrays["jaccard"])) > float(np.mean(rows)) + MARGIN:
            flags.add("NOT_CONVERGED")
    return Evidence(
        protocol=NAME,
        adversary=name,
        goal=goal,
        threat=threat,
        seed=seed,
        status="measured",
        cost=cost,
        arms=arms,
        metrics=metrics,
        health=tuple(sorted(flags)),
        chosen=True,
    )


def arms_flags(arms: Arms) -> set[str]:
    """Whether the ceiling is missed, and whether the attack is no better than the floor, bound against bound."""
    floor, found = arms.floor or Value.unknown("no floor"), set()
    if arms.ceiling is None or (arms.ceiling.low or 0.0) <= (floor.high or 1.0):
        found.add("CEILING_MISSED")
    if arms.attack is not None and (arms.attack.low or 0.0) <= (floor.value or 0.0):
        found.add("AT_FLOOR")
    return found
