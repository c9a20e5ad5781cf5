"""Conducting the protocol `leakage`: the attack-free numbers of a release, as one task."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adversaries.diagnostics.release import UNITS, LeakageSettings, measure_release, measure_values
from adversaries.diagnostics.score import ScorePrior, gaussian_prior, sliced_score_prior
from adversaries.evaluation_data import EvaluationData
from adversaries.evidence import Cost, Evidence, Threat, Value
from adversaries.threat import Grant, grants
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.context import Context
from protocols.evaluation.protocol import Findings
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

NAME = "leakage"
MOST_PIXELS = 1_024
"""Score priors are matrices over pixels; above this many values of an image there is none."""


@dataclass(frozen=True, kw_only=True)
class LeakageTask(Task):
    """Measure one release.

    Args:
        world: digest of the world.
        dataset: its name; the prior of `gaussian` is known in closed form.
        seed: of probes, noise and the prior's fit.
        samples, bound_samples: images whose Jacobians are computed, and over which bounds are averaged.
    """

    world: str
    dataset: str
    seed: int
    samples: int
    bound_samples: int

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Measure the release of the targets; without a defense to ask, what published values alone tell."""
        started = time.perf_counter()
        world = place.world()
        arrays: dict[str, NDArray[Any]] = {}
        notes: tuple[str, ...] = ()
        try:
            if world.targets.images is None:
                raise NotApplicableError("the originals are unknown")
            found = measure_release(
                place.defense(),
                world.targets.images,
                torch.Generator().manual_seed(derive_seed(NAME, self.seed)),
                prior=self._prior(world),
                release=world.targets.release,
                settings=LeakageSettings(samples=self.samples, bound_samples=self.bound_samples),
            )
            values, arrays, notes = {**found.metrics, **found.more}, dict(found.arrays), found.notes
        except NotApplicableError as error:
            known = measure_values(world.targets.release)
            values = {name: Value.unknown(str(error), unit=unit) for name, unit in UNITS.items()} | known
        said = {"values": {name: value.model_dump(mode="json") for name, value in values.items()}, "notes": notes}
        text = json.dumps(said, allow_nan=False, sort_keys=True).encode()
        return Outcome(
            status="measured",
            cost={"seconds": round(time.perf_counter() - started, 4)},
            arrays={**arrays, "said": np.frombuffer(text, np.uint8).copy()},
        )

    def _prior(self, world: EvaluationData) -> ScorePrior | str:
        images = world.train.images
        if self.dataset == "gaussian":
            return gaussian_prior()
        if images is None or images[0].numel() > MOST_PIXELS:
            return f"the score prior is a matrix over pixels, kept up to {MOST_PIXELS:,} of them"
        try:
            return sliced_score_prior(images, torch.Generator().manual_seed(derive_seed("prior", self.seed)))
        except (NotApplicableError, UserError) as error:
            return str(error)


def conduct_leakage(context: Context) -> Findings:
    """Measure the release and every number of the catalog, each with its interval or its reason."""
    prepared = context.prepared
    settings = LeakageSettings()
    task = LeakageTask(
        world=prepared.digests.world,
        dataset=prepared.dataset.name,
        seed=context.settings.seed,
        samples=settings.samples,
        bound_samples=settings.bound_samples,
    )
    (outcome,) = context.runner.run(NAME, [QueuedTask(task, prepared.place, context.cells, "attack-free numbers")])
    threat = Threat(
        level=context.threat, knows=tuple(k.name.lower() for k in Grant if k in grants(context.threat) and k.name)
    )
    row = Evidence(
        protocol=NAME,
        adversary="diagnostics",
        goal="release",
        threat=threat,
        seed=context.settings.seed,
        status="failed" if outcome.status == "measured" else outcome.status,
        reason=outcome.reason,
        health=("CRASHED",) if outcome.status == "failed" else (),
    )
    if outcome.status != "measured":
        missing = {name: Value.unknown(outcome.reason or "", unit=unit) for name, unit in UNITS.items()}
        return Findings(evidence=[row], metrics=missing)
    said = json.loads(outcome.arrays["said"].tobytes())
    values = {name: Value.model_validate(value) for name, value in said["values"].items()}
    context.rows.update({name: rows for name, rows in outcome.arrays.items() if name != "said"})
    row = row.model_copy(
        update={
            "status": "measured",
            "reason": " ".join(said["notes"]) or None,
            "health": (),
            "metrics": {name: value for name, value in values.items() if name not in UNITS},
            "cost": Cost(seconds=outcome.cost["seconds"]),
            "settings": {key: value for key, value in asdict(task).items() if key not in ("world", "dataset", "seed")},
        }
    )
    return Findings(evidence=[row], metrics={name: values[name] for name in UNITS})
