"""`vfc train --ablate`: the variants of one choice of VFC, trained and measured side by side.

Every variant differs from the others in the named options alone: same data, target, seeds and length. A seed is that of
the target, of the unintended models, of VFC and of the attacks.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
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
VARIANTS["all"] = tuple({**mask, **rest} for mask in VARIANTS["mask"] for rest in VARIANTS["decoder"])
"""The named ablations; `decoder` is decoder x output range x beta, `all` is mask x decoder x output range x beta."""

COLUMNS = (
    ("target", "target.accuracy"),
    ("frozen", "transfer.accuracy"),
    ("picture: target", "target.picture.accuracy"),
    ("no label", "adaptive.accuracy@0"),
    ("10 per class", "adaptive.accuracy@10"),
    ("all labels", "adaptive.accuracy@all"),
)
"""What the table shows: heading and metric."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One variant, trained and measured with one seed.

    Args:
        variant: the options that it varies.
        seed: of everything.
        metrics: what was measured.
    """

    variant: Mapping[str, Any]
    seed: int
    metrics: Mapping[str, Value]


def run_ablation(settings: Settings, name: str, *, repeat: int = 1) -> int:
    """Train and measure every variant, print the table, and write it as JSON and CSV.

    Args:
        settings: the run's.
        name: of the ablation.
        repeat: how many seeds, from the run's up.

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
    with workspace(settings, out, {"ablation": name, "repeat": repeat, **settings.identity()}, device) as place:
        results = _results(place, name, repeat, dataset, parts)
        _write(results, out)
    with printing():
        if settings.verbosity >= 0:
            Console().print(_table(name, results, len(parts.targets)))
    place.reporter.note(f"table: {out / 'ablation.json'}, {out / 'ablation.csv'}")
    return 0


def _results(place: Workspace, name: str, repeat: int, dataset: Dataset, parts: Parts) -> list[Row]:
    """Every variant with its numbers, seed by seed."""
    spec = ReleaseSpec(kind="registered", text="vfc", source="vfc")
    seeds = range(place.settings.seed, place.settings.seed + repeat)
    results: list[Row] = []
    for variant, seed in itertools.product(VARIANTS[name], seeds):
        said = ", ".join(f"{key} {value}" for key, value in variant.items())
        place.reporter.note(f"variant {said}" + (f", seed {seed}" if repeat > 1 else ""))
        own = replace(place, settings=replace(_changed(place.settings, variant), seed=seed))
        prepared = prepare(own.settings, spec, dataset, parts, own.trainer(), own.scratch, bare=False)
        results.append(Row(variant=dict(variant), seed=seed, metrics=_measure(own, prepared)))
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


def _table(name: str, results: Sequence[Row], targets: int) -> Table:
    """One line a variant: with one seed its interval, with several their mean, lowest and highest."""
    seeds = len({row.seed for row in results})
    what = "90 % interval, one seed: read directions" if seeds == 1 else f"mean, lowest and highest of {seeds} seeds"
    table = Table(
        title=f"VFC, {name} ablation: accuracy on {targets} targets, {what}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in (*results[0].variant, *(heading for heading, _ in COLUMNS)):
        table.add_column(heading)
    for variant in VARIANTS[name]:
        rows = [row.metrics for row in results if row.variant == variant]
        table.add_row(*map(str, variant.values()), *(_over_seeds([each[m] for each in rows]) for _, m in COLUMNS))
    return table


def _over_seeds(values: Sequence[Value]) -> str:
    if len(values) == 1:
        return show(values[0])
    numbers = [each.value for each in values if each.value is not None]
    if len(numbers) < len(values):
        return "n/a"
    return f"{fmean(numbers):.3f} {min(numbers):.3f}-{max(numbers):.3f}"


def _write(results: Sequence[Row], out: Path) -> None:
    data = [
        {
            "variant": jsonable(dict(row.variant)),
            "seed": row.seed,
            "metrics": {name: value.model_dump(mode="json") for name, value in row.metrics.items()},
        }
        for row in results
    ]
    write_bytes(json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode(), out / "ablation.json")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*results[0].variant, "seed", *(f"{m}{end}" for _, m in COLUMNS for end in ("", ".low", ".high"))])
    for row in results:
        found = [row.metrics[metric] for _, metric in COLUMNS]
        numbers = [bound for value in found for bound in (value.value, value.low, value.high)]
        writer.writerow([*row.variant.values(), row.seed, *numbers])
    write_bytes(text.getvalue().encode(), out / "ablation.csv")
