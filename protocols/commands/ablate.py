"""`vfc train --ablate`: the variants of one choice of VFC, trained and measured side by side.

Every variant differs from the others in the named options alone: same data, target, seed and length.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adversaries.evidence import Value
from adversaries.goals.label import TaskLabel
from protocols.commands.attack import jsonable
from protocols.commands.output import printing
from protocols.commands.train import show
from protocols.engine.budget import BUDGETS
from protocols.engine.prepare import data_of, prepare
from protocols.engine.prepared import Prepared
from protocols.engine.settings import Settings
from protocols.engine.workspace import Workspace, start_torch, workspace
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.metrics import LabelMetrics, target_metrics
from protocols.evaluation.overrides import check_overrides
from protocols.run import context_of
from protocols.task_label.study import adaptive_metrics, transfer_metrics
from vfc.artifact import write_bytes
from vfc.data import Dataset
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.splits import Parts

VARIANTS: dict[str, tuple[Mapping[str, Any], ...]] = {
    "mask": tuple({"mask": mask} for mask in ("none", "kl", "saliency", "both", "random")),
    "decoder": tuple(
        {"decoder": decoder, "output": output, "beta": beta}
        for decoder, output, beta in itertools.product(
            ("transposed", "upsample", "linear"), ("unbounded", "sigmoid"), (0.003, 0.03)
        )
    ),
}
"""The named ablations; `decoder` is decoder x output range x beta."""

COLUMNS = (
    ("target", "target.accuracy"),
    ("frozen", "transfer.accuracy"),
    ("picture: target", "target.picture.accuracy"),
    ("no label", "adaptive.accuracy@0"),
    ("10 per class", "adaptive.accuracy@10"),
    ("all labels", "adaptive.accuracy@all"),
)
"""What the table shows: heading and metric."""


def run_ablation(settings: Settings, name: str) -> int:
    """Train and measure every variant, print the table, and write it as JSON and CSV.

    Raises:
        UserError: the ablation is of another defense than VFC, or options contradict the variants.
    """
    if settings.release != "vfc":
        raise UserError(f"expected the defense vfc for an ablation, got {settings.release!r}", "leave --defense out")
    varied = set(VARIANTS[name][0])
    if fixed := varied & set(settings.options("vfc")):
        raise UserError(f"expected no --set for what is varied, got {', '.join(sorted(fixed))}", "leave it out")
    out = settings.out_folder(f"ablation-{name}")
    device = start_torch(settings)
    spec = ReleaseSpec(kind="registered", text="vfc", source="vfc")
    check_overrides(settings, ())
    settings, dataset, parts = data_of(settings, spec)
    with workspace(settings, out, {"ablation": name, **settings.identity()}, device) as place:
        results = _results(place, name, dataset, parts)
        _write(results, out)
    with printing():
        if settings.verbosity >= 0:
            Console().print(_table(name, results, len(parts.targets)))
    place.reporter.note(f"table: {out / 'ablation.json'}, {out / 'ablation.csv'}")
    return 0


def _results(
    place: Workspace, name: str, dataset: Dataset, parts: Parts
) -> list[tuple[Mapping[str, Any], Mapping[str, Value]]]:
    """Every variant with its numbers."""
    spec = ReleaseSpec(kind="registered", text="vfc", source="vfc")
    results: list[tuple[Mapping[str, Any], Mapping[str, Value]]] = []
    for variant in VARIANTS[name]:
        place.reporter.note("variant " + ", ".join(f"{key} {value}" for key, value in variant.items()))
        own = replace(place, settings=_changed(place.settings, variant))
        prepared = prepare(own.settings, spec, dataset, parts, own.trainer(), own.scratch, bare=False)
        results.append((dict(variant), _measure(own, prepared)))
        shutil.rmtree(own.scratch, ignore_errors=True)
    return results


def _changed(settings: Settings, variant: Mapping[str, Any]) -> Settings:
    overrides = {**dict(settings.overrides), **{f"vfc.{key}": value for key, value in variant.items()}}
    return replace(settings, overrides=tuple(sorted(overrides.items())))


def _candidates(models: Sequence[str], twin: str | None) -> list[Candidate]:
    """A small ladder: frozen models, BatchNorm statistics without labels, fine-tuning with."""
    others = [model for model in models if model != twin]
    ladder = [("frozen", {}), ("batchnorm", {}), ("fine-tune", {"scope": "all"})]
    return [
        Candidate(adversary=adversary, settings={"model": model, **options})
        for adversary, options in ladder
        for model in others
    ] + [Candidate(adversary="linear"), Candidate(adversary="majority")]


def _measure(place: Workspace, prepared: Prepared) -> dict[str, Value]:
    """The columns of one variant."""
    budget = replace(BUDGETS["smoke"], labels=(10, "all"))
    context = context_of(place, prepared, threat="L2", budget=budget, rows={})
    goal = TaskLabel(label=prepared.parts.task)
    evaluation = LabelEvaluation.of(context, goal, _candidates(*context.models))
    evaluation.run(context.levels)
    per_class = len(prepared.world.train) / prepared.dataset.classes[prepared.parts.task]
    numbers = LabelMetrics(board=evaluation.board, target=prepared.target, per_class=per_class, rows={})
    found = target_metrics(prepared.target, "") | transfer_metrics(numbers)
    found |= adaptive_metrics(numbers, ("L0", "L1", "L2"))
    return {metric: found[metric] for _, metric in COLUMNS}


def _table(name: str, results: Sequence[tuple[Mapping[str, Any], Mapping[str, Value]]], targets: int) -> Table:
    table = Table(
        title=f"VFC, {name} ablation: accuracy on {targets} targets, 90 % interval, one seed: read directions",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in (*results[0][0], *(heading for heading, _ in COLUMNS)):
        table.add_column(heading)
    for variant, metrics in results:
        table.add_row(*map(str, variant.values()), *(show(metrics[metric]) for _, metric in COLUMNS))
    return table


def _write(results: Sequence[tuple[Mapping[str, Any], Mapping[str, Value]]], out: Path) -> None:
    data = [
        {"variant": jsonable(dict(variant)), "metrics": {k: v.model_dump(mode="json") for k, v in metrics.items()}}
        for variant, metrics in results
    ]
    write_bytes(json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode(), out / "ablation.json")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*results[0][0], *(f"{m}{end}" for _, m in COLUMNS for end in ("", ".low", ".high"))])
    for variant, metrics in results:
        numbers = [bound for _, m in COLUMNS for bound in (metrics[m].value, metrics[m].low, metrics[m].high)]
        writer.writerow([*variant.values(), *numbers])
    write_bytes(text.getvalue().encode(), out / "ablation.csv")
