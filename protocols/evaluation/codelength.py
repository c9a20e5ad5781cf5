"""Online codelength of labels, as tasks: `mdl.<label>.bits` and the control with permuted labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adversaries.evidence import Value
from adversaries.learning.mdl import online_codelength
from adversaries.statistics import estimates
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.evaluation.protocol import Findings
from protocols.evaluation.statistic import FEW
from vfc.seeding import derive_seed

ROWS = 2000
"""At most so many targets are coded, the first in content-hash order: a probe on all of them takes long."""


@dataclass(frozen=True, kw_only=True)
class Codelength(Task):
    """Tell one label of the targets to someone who has their releases.

    Args:
        label: its name.
        control: permute it first.
        rows: how many targets, at most.
        seed: of the permutation.
        world: digest of the world.
    """

    label: str
    control: bool
    rows: int
    seed: int
    world: str

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Bits per target."""
        started = time.perf_counter()
        world = place.world()
        targets = world.targets
        labels = targets.labels[self.label][: self.rows]
        if self.control:
            generator = torch.Generator().manual_seed(derive_seed("mdl", self.label, self.seed))
            labels = labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
        bits = online_codelength(
            targets.release[: self.rows], labels, world.classes[self.label], scale=world.train.release
        )
        seconds = round(time.perf_counter() - started, 4)
        return Outcome(status="measured", arrays={"bits": bits.numpy()}, cost={"seconds": seconds})


def codelengths(context: Context, protocol: str, labels: Sequence[str]) -> Findings:
    """`mdl.<label>.*` of some labels; nothing below L2, which grants no labelled release.

    Args:
        context: the run.
        protocol: its name.
        labels: names of labels.
    """
    if "L2" not in context.levels:
        return Findings()
    prepared = context.prepared
    tasks = {
        f"mdl.{label}.{name}": Codelength(
            label=label, control=control, rows=ROWS, seed=context.settings.seed, world=prepared.digests.world
        )
        for label in labels
        for name, control in (("bits", False), ("control_bits", True))
    }
    orders = [QueuedTask(task, prepared.place, context.cells, name) for name, task in tasks.items()]
    flags = ("TOO_FEW_TARGETS",) if len(prepared.world.targets) < FEW else ()
    metrics: dict[str, Value] = {}
    evidence = []
    for (name, task), outcome in zip(tasks.items(), context.runner.run("codelengths", orders), strict=True):
        if outcome.status == "measured":
            context.rows[name] = outcome.arrays["bits"]
            value = estimates.mean(context.rows[name], "bits", rows=name)
            metrics[name] = value.model_copy(update={"flags": flags})
            continue
        metrics[name] = Value.unknown(outcome.reason or outcome.status, unit="bits")
        # A codelength that could not be had must not pass unnoticed; one that was measured attacks nobody.
        candidate = Candidate(adversary="codelength", settings={"control": task.control})
        goal, seed = f"mdl:{task.label}", context.settings.seed
        row = unmeasured(protocol, candidate, goal, threat_of("L2"), seed, outcome.status, outcome.reason)
        evidence.append(row)
    return Findings(evidence=evidence, metrics=metrics)
