"""Conducting the ladder of knowledge on the task label, and the numbers that come of it."""

from __future__ import annotations

from collections.abc import Sequence

from adversaries.evidence import Value
from adversaries.goals.label import TaskLabel
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.codelength import codelengths
from protocols.evaluation.context import Context
from protocols.evaluation.cross_protocol import strongest
from protocols.evaluation.evidence import reference_row
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.metrics import LabelMetrics, LabelsNeeded
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Attempt, Budgeted, Results
from protocols.evaluation.schedule import Choice

EXPOSED_AT = (1, 10)
"""Labelled releases per class at which it is told whom the attack exposes."""


def conduct_task(context: Context, protocol: str, candidates: Sequence[Candidate], *, adaptive: bool) -> Findings:
    """Attack the task label.

    Args:
        context: the run.
        protocol: its name.
        candidates: who competes.
        adaptive: whether the `adaptive.*` numbers are wanted.
    """
    prepared = context.prepared
    goal = TaskLabel(label=prepared.parts.task)
    evaluation = LabelEvaluation.of(context, goal, candidates, draws=adaptive)
    numbers = LabelMetrics(
        board=evaluation.board,
        target=prepared.target,
        per_class=len(prepared.world.train) / prepared.dataset.classes[goal.label],
        rows=context.rows,
        originals=prepared.world.train.images is not None,
    )
    evaluation.run(context.levels, lambda: exposed_choices(numbers) if adaptive and context.threat >= "L2" else [])
    metrics = transfer_metrics(numbers)
    if adaptive:
        metrics |= adaptive_metrics(numbers, [level for level in context.levels if level <= "L2"])
    evidence = evaluation.evidence(protocol, evaluation.chosen(context.levels))
    if adaptive:
        coded = codelengths(context, protocol, [goal.label])
        evidence, metrics = [*evidence, *coded.evidence], {**metrics, **coded.metrics}
    if context.threat >= "L5" and prepared.target.release is not None:
        seed = context.settings.seed
        evidence.append(reference_row(protocol, goal.name, prepared.target.release, numbers.floor, seed))
    return Findings(evidence=evidence, metrics=metrics, ladder=numbers if adaptive else None)


def transfer_metrics(numbers: LabelMetrics) -> dict[str, Value]:
    """`transfer.*`: frozen unintended models, the near twin apart."""
    results = numbers.board.results

    def named(adversary: str, *, twin: bool = False) -> list[Attempt]:
        frozen = results.attempts(levels=("L0",), twin=twin)
        candidates = [(attempt, results.of(attempt).candidate) for attempt in frozen]
        return [a for a, each in candidates if each.adversary == adversary and each.headline != twin]

    frozen, pictures, twin = named("frozen"), named("frozen-picture"), named("frozen", twin=True)
    metrics = {
        "transfer.accuracy": numbers.accuracy(frozen),
        "transfer.suppression_ratio": numbers.suppression(frozen),
        "transfer.leakage": numbers.leakage("transfer.leakage", frozen),
        "transfer.twin.accuracy": numbers.accuracy(twin),
        "transfer.twin.suppression_ratio": numbers.suppression(twin),
    }
    if any(results.measured(attempt, "attack") for attempt in pictures):
        metrics["transfer.picture.accuracy"] = numbers.accuracy(pictures)
    if numbers.target.picture is not None:
        metrics["transfer.picture.suppression_ratio"] = numbers.suppression(pictures, numbers.target.picture)
    return metrics


def exposed_choices(numbers: LabelMetrics) -> list[Choice]:
    """The choices of whom exposes most, which need controls too."""
    curve = _curve(numbers.board.results)
    return [Choice(board=numbers.exposing, attempts=curve[labels]) for labels in EXPOSED_AT if labels in curve]


def adaptive_metrics(numbers: LabelMetrics, levels: Sequence[str]) -> dict[str, Value]:
    """`adaptive.*`: the strongest of all levels that the threat model allows."""
    results = numbers.board.results
    metrics = strongest(numbers, results.attempts(results.grid[-1], levels=levels))
    if "L1" in levels:
        unlabelled = results.attempts(levels=levels)
        metrics["adaptive.accuracy@0"] = numbers.accuracy(unlabelled)
        metrics["adaptive.median_accuracy@0"] = numbers.median_accuracy(results.attempts(levels=("L1",)))
    if "L2" in levels:
        curve = _curve(results)
        for labels, attempts in curve.items():
            metrics[f"adaptive.accuracy@{labels}"] = numbers.accuracy(attempts)
            metrics[f"adaptive.suppression_ratio@{labels}"] = numbers.suppression(attempts)
            if labels in EXPOSED_AT:
                metrics[f"adaptive.exposed@{labels}"] = numbers.exposed(attempts)
        needed = LabelsNeeded(numbers=numbers, curve=curve)
        metrics["adaptive.labels_to_half"] = needed.reaching(0.5)
        metrics["adaptive.labels_to_90"] = needed.reaching(0.9)
    return metrics


def _curve(results: Results) -> dict[Budgeted, list[Attempt]]:
    """Who competes at each number of labels: from L3 on the axis is queries."""
    return {labels: results.attempts(labels, levels=("L0", "L1", "L2")) for labels in results.grid}
