"""Conducting `mask-aware`: those who know the mask against those who do not, what it hides, and whether it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from adversaries.attacks.mask.opened_latent import open_latent
from adversaries.evidence import Value
from adversaries.goals.label import TaskLabel
from adversaries.statistics import estimates
from protocols.engine.handles import NO_DEFENSE
from protocols.engine.identity import digest_of_defense
from protocols.engine.publishing.world import TOGETHER, shared_images
from protocols.engine.settings import Settings
from protocols.engine.task import Rows, Task
from protocols.evaluation.candidate import Candidate, collect
from protocols.evaluation.context import Context
from protocols.evaluation.cross_protocol import rivals_from_labels
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.evaluation.flags import health_flags
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.metrics import chosen_value
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Trial
from protocols.mask_aware.findings import NAME, recovered
from protocols.mask_aware.lift import PROBES, Lift
from protocols.mask_aware.tasks import BITS, InformedTask
from vfc.errors import NotApplicableError

AGNOSTIC = ("linear", "mlp", "cnn")
"""Probes that do not know the mask; unintended models are retrained besides."""


def aware(models: Sequence[str], twin: str | None, options: Mapping[str, Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Those who know the mask.

    Args:
        models: the unintended models.
        twin: the near twin among them, which has no part in it.
        options: the user's, by probe.
    """

    def with_options(candidate: Candidate) -> Candidate:
        own = options.get(str(candidate.settings.get("probe")))
        return replace(candidate, settings={**candidate.settings, "options": own}) if own else candidate

    found = collect("mask", models=[model for model in models if model != twin])
    return tuple(with_options(each) for each in found)


def agnostic(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Those who do not know it, with the same labelled releases and the same kinds of readers."""
    probes = [Candidate(adversary=probe) for probe in AGNOSTIC]
    return (
        *probes,
        *(Candidate(adversary="fine-tune", settings={"model": m, "scope": "all"}) for m in models if m != twin),
    )


def conduct_masks(context: Context) -> Findings:
    """Everything about the mask."""
    prepared = context.prepared
    goal = TaskLabel(label=prepared.parts.task)
    try:
        if context.threat < "L4":
            raise NotApplicableError("the mask is known from --threat L4 on")
        if prepared.publisher is None:
            raise NotApplicableError(NO_DEFENSE)
        defense = digest_of_defense(prepared.publisher.defense)
        per_image = _save_bits(context)
    except NotApplicableError as reason:
        return nothing(str(reason), goal.name, context.settings.seed)
    context = replace(context, budget=replace(context.budget, labels=context.budget.labels[-1:], transforms="none"))
    models, twin = context.models
    if context.budget.name == "smoke":
        # Retraining is what takes long, with the mask and without it.
        models = [model for model in models if model != twin][:1]
    options = {probe: context.settings.options(probe) for probe in PROBES}

    def informed(trial: Trial, task: LabelTask) -> Task:
        """On the images an adversary that knows the defense is the reader without that knowledge."""
        return _reader(task, context.settings) if trial.arm == "ceiling" else InformedTask(label=task, defense=defense)

    ignorant = LabelEvaluation.of(context, goal, agnostic(models, twin), undefended=False)
    ignorant.run(["L2"])
    knowing = LabelEvaluation.of(context, goal, aware(models, twin, options), undefended=False, replaced=informed)
    knowing.run(["L4"])
    evidence = [
        row
        for evaluation, levels in ((knowing, ["L4"]), (ignorant, ["L2"]))
        for row in evaluation.evidence(NAME, evaluation.chosen(levels))
    ]
    seen = recovered(context, defense)
    lifts = Lift(context=context, defense=defense, per_image=per_image).evidence()
    metrics = {"mask.gain": gain(knowing.board, ignorant.board), "mask.recovery": seen.metric}
    rivals = rivals_from_labels(knowing.board.results)
    return Findings(evidence=[*evidence, *seen.evidence, *lifts], metrics=metrics, rivals=rivals)


def gain(knowing: Leaderboard, ignorant: Leaderboard) -> Value:
    """Accuracy of the best who knows the mask - that of the best who does not, on the same target images."""
    rivals = ignorant.results.attempts(ignorant.results.grid[-1], levels=["L2"])
    other = ignorant.choose(rivals)
    if other is None:
        return Value.unknown("nobody without the mask was measured", unit="difference")
    theirs = dict(zip(ignorant.results.seeds, ignorant.rows(other), strict=True))

    def measure(_contestant: Contestant, rows: Rows, seed: int) -> Value:
        return estimates.difference(rows, theirs[seed])

    found = chosen_value(knowing, knowing.results.attempts(knowing.results.grid[-1], levels=["L4"]), measure)
    doubts = {*health_flags(ignorant, other), *(["SELECTION_MISSED"] if ignorant.missed(other, rivals) else [])}
    return found.model_copy(update={"flags": tuple(sorted({*found.flags, *doubts}))})


def _reader(task: LabelTask, settings: Settings) -> LabelTask:
    """The reader of a ceiling, as every protocol keeps it: a probe, or a retrained unintended model."""
    reader, own = str(task.settings.get("probe", PROBES[0])), {}
    if "model" in task.settings:
        reader, own = "fine-tune", {"model": task.settings["model"], "scope": "all"}
    return replace(task, adversary=reader, settings={**own, **settings.options(reader)}, level="L2")


def nothing(reason: str, goal: str, seed: int) -> Findings:
    """What is said of a release without a mask, or without a defense to ask."""
    threat = threat_of("L4")
    rows = [
        unmeasured(NAME, Candidate(adversary=name), goal, threat, seed, "not_applicable", reason)
        for name in ("mask-latent", "mask-replay")
    ]
    metrics = {
        "mask.gain": Value.unknown(reason, unit="difference"),
        "mask.recovery": Value.unknown(reason),
    }
    return Findings(evidence=rows, metrics=metrics)


@torch.no_grad()
def _save_bits(context: Context) -> bool:
    """Write the mask of every image beside the world, and some for people into the sidecar; whether they differ.

    Masks are taken from publishing again with the same randomness, because some defenses draw them.
    """
    prepared, device = context.prepared, context.prepared.place.device
    publisher = prepared.publisher
    if publisher is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    latent = open_latent(publisher.defense, prepared.parts.pool_train.images.to(device))
    images_of = shared_images(prepared.parts)
    mixture, generator = publisher.mixed(images_of, TOGETHER)
    pieces = [latent.published(call.to(device), generator)[1].cpu() for call in mixture.calls(images_of)]
    bits = {name: kept.contiguous() for name, kept in mixture.apart(pieces).items()}
    prepared.place.save_beside(BITS, {name: kept.to(torch.uint8) for name, kept in bits.items()})
    shown = bits["targets"]
    context.rows["mask/bits"] = (shown[:16] if latent.per_image else shown[0]).numpy().astype(np.uint8)
    return latent.per_image
