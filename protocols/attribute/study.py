"""Conducting the ladder of knowledge on private attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from adversaries.evaluation_data import EvaluationData
from adversaries.evidence import Evidence, Threat, Value
from adversaries.goals.label import Attribute
from protocols.attribute.metrics import AttributeMetrics
from protocols.engine.budget import Budget
from protocols.engine.prepared import digests_with
from protocols.evaluation.candidate import Candidate, collect, floor_guessers
from protocols.evaluation.codelength import codelengths
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import unmeasured
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.protocol import Findings

NAMES = ("accuracy", "leakage", "worst_class_leakage", "exposed", "transfer_accuracy")


SLOW = ("entropy", "adapter", "fine-tune")
"""Adversaries that retrain a model: at `smoke` only one model of each."""


def attribute_ladder(models: Sequence[str], twin: str | None, budget: str = "full") -> tuple[Candidate, ...]:
    """Every adversary of one attribute; the near twin has no part in it.

    Args:
        models: the unintended models.
        twin: the near twin among them, if there is one.
        budget: at `smoke` those who retrain a model start from the first only.
    """
    others = [model for model in models if model != twin]
    everybody = (*collect("attribute", models=others), *floor_guessers("attribute"))
    if budget != "smoke":
        return everybody
    return tuple(each for each in everybody if each.adversary not in SLOW or each.settings["model"] == others[0])


def conduct_attributes(context: Context, protocol: str, candidates: Sequence[Candidate]) -> Findings:
    """Attack every private attribute, one after the other.

    Args:
        context: the run.
        protocol: its name.
        candidates: who competes.
    """
    labels = context.settings.attributes or context.prepared.dataset.attributes
    if not labels:
        reason = "the data set has no label besides the task; --label derives one"
        return Findings(evidence=[_absent(context, protocol, "attribute", reason)])
    models = _models(context, labels)
    evidence: list[Evidence] = []
    metrics: dict[str, Value] = {}
    for label in labels:
        found = _conduct(context, protocol, label, candidates, models.get(label, {}))
        evidence += found.evidence
        metrics |= found.metrics
    coded = codelengths(context, protocol, labels)
    return Findings(evidence=[*evidence, *coded.evidence], metrics={**metrics, **coded.metrics})


def _conduct(
    context: Context, protocol: str, label: str, candidates: Sequence[Candidate], models: Mapping[str, Path]
) -> Findings:
    """Attack one attribute."""
    goal, world = Attribute(label=label), context.prepared.world
    if reason := _ungradable(world, label):
        unknown = {f"attribute.{label}.{name}": Value.unknown(reason) for name in NAMES}
        return Findings(evidence=[_absent(context, protocol, goal.name, reason)], metrics=unknown)
    evaluation = LabelEvaluation.of(_with_models(context, models), goal, candidates)
    numbers = AttributeMetrics(
        board=evaluation.board,
        questions=goal.questions(world),
        floors=goal.class_floor(world).cpu().numpy().astype(np.uint8),
        rows=context.rows,
        originals=world.train.images is not None,
    )
    evaluation.run(context.levels, lambda: numbers.choices(context.levels))
    metrics = numbers.all(label, context.levels)
    evidence = evaluation.evidence(protocol, numbers.chosen(context.levels))
    if goal.skewed(world):
        each = len(evaluation.floor) // world.classes[label]
        said = {"graded": f"balanced accuracy: the first {each} targets of every class"}
        evidence = [row.model_copy(update={"settings": {**row.settings, **said}}) for row in evidence]
    return Findings(evidence=evidence, metrics=metrics)


def _with_models(context: Context, models: Mapping[str, Path]) -> Context:
    """The same study with unintended models of another label, without a near twin, and with the budget's grid cut."""
    prepared = context.prepared
    bare = prepared.undefended
    world = replace(prepared.world, models={}, twin=None)
    return replace(
        context,
        prepared=replace(
            prepared,
            world=world,
            models=models,
            digests=digests_with(prepared, models),
            place=prepared.place.with_models(models),
            undefended=None if bare is None else bare.with_models(models),
        ),
        budget=_cut(context.budget),
    )


def _cut(budget: Budget) -> Budget:
    """Attributes have no curve over labels, so the grid's largest is enough; `full` pays for the others too."""
    return budget if budget.name == "full" else replace(budget, labels=budget.labels[-1:])


def _models(context: Context, labels: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Unintended models of each attribute; none without images."""
    prepared = context.prepared
    if prepared.families is None:
        return {}
    usable = [label for label in labels if not _ungradable(prepared.world, label)]
    families = prepared.families
    trained = context.trainer.attribute_models(prepared.dataset, prepared.parts, families, usable)
    # Models from outside know the task alone: they serve whoever trains them further.
    outside = {name: path for name, path in prepared.models.items() if name in families.outside}
    return {label: {**named, **outside} for label, named in trained.items()}


def _ungradable(world: EvaluationData, label: str) -> str:
    """Why an attribute cannot be attacked; empty if it can."""
    parts = {"attacker's pool": world.train, "attacker's validation part": world.validation, "targets": world.targets}
    for name, part in parts.items():
        counts = torch.bincount(part.labels[label], minlength=world.classes[label])
        if not bool(counts.all()):
            missing = int((counts == 0).nonzero()[0])
            return f"class {missing} of {label!r} is nowhere among the {name}; --label merges rare classes"
    return ""


def _absent(context: Context, protocol: str, goal: str, reason: str) -> Evidence:
    """That the floor's guesser, and with it everybody, had nothing to attack."""
    candidate, seed = Candidate(adversary="table"), context.settings.seed
    return unmeasured(protocol, candidate, goal, Threat(level="L0", knows=()), seed, "not_applicable", reason)
