"""`vfc leakage --over-training`: the layers of a network over its training, and who was a member by them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from protocols.commands.output import printing
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.own_module import LayerOptions, content_of_model
from protocols.engine.prepare import data_of
from protocols.engine.settings import Settings, digest_of
from protocols.engine.workspace import start_torch, workspace
from protocols.evaluation.overrides import check_overrides
from protocols.over_training.options import OverTraining
from protocols.over_training.study import OverTrainingStudy
from reports.studies.over_training.page import render_html, render_svg
from reports.studies.over_training.tables import show
from vfc.artifact import save_json, write_bytes
from vfc.data import Dataset
from vfc.errors import UserError
from vfc.factory import ReleaseSpec, resolve

STEM = "overtraining"
SCHEMA = 1


def run_overtraining(
    options: LayerOptions, over: OverTraining, settings: Settings, console: Console | None = None
) -> int:
    """Train or read the states, measure and attack each, save, and show.

    Returns:
        0; 3 if no layer could be measured.

    Raises:
        UserError: anything that the user must change; finished checkpoints are kept.
    """
    device = start_torch(settings)
    check_overrides(settings, ())
    settings, dataset, parts = data_of(settings, _spec(over))
    identity = _identity(options, over, settings, dataset)
    out = Path(settings.out) if settings.out else Path("runs") / f"{STEM}-{digest_of(identity)[:8]}"
    with workspace(settings, out, identity, device, LocalExecutor()) as place:
        started = time.monotonic()
        trainer = place.trainer(checkpoints=0 if over.checkpoints and options.model else over.count)
        study = OverTrainingStudy(options, over, settings, dataset, parts, trainer, place.runner, out / "cells")
        data, measured = study.data()
        passed = {"torch": torch.__version__, "device": device, "seconds": time.monotonic() - started}
        data = {"schema": SCHEMA, "settings": {**identity, "model": options.model}, **data, "provenance": passed}
        save_json(data, out / f"{STEM}.json")
        write_bytes(render_svg(data).encode(), out / f"{STEM}.svg")
        write_bytes(render_html(data).encode(), out / f"{STEM}.html")
    with printing():
        if settings.verbosity >= 0:
            show(data, console or Console(highlight=False))
    place.reporter.note(f"drawn in {out / STEM}.html")
    return 0 if measured else 3


def _spec(over: OverTraining) -> ReleaseSpec:
    if over.release is None:
        return ReleaseSpec(kind="registered", text="", source="")
    spec = resolve(over.release)
    if spec.kind != "folder":
        raise UserError(
            f"expected a folder of vfc train --checkpoints N as --release, got {over.release!r}", "train one first"
        )
    return spec


def _identity(options: LayerOptions, over: OverTraining, settings: Settings, dataset: Dataset) -> dict[str, Any]:
    shared = settings.identity()
    names = (
        "target",
        "width",
        "task",
        "labels",
        "split",
        "split_seed",
        "seed",
        "threads",
        "overrides",
        "identity_extra",
    )
    return {
        "verb": "leakage --over-training",
        "model": content_of_model(options.model),
        **{name: getattr(options, name) for name in ("images", "samples", "method", "memory")},
        "straight_through": options.straight_through,
        "layers": list(options.layers),
        "part": over.part,
        "checkpoints": over.checkpoints or (over.count if over.release is None else None),
        "shadows": over.shadows,
        "members": over.members,
        "dataset": (settings.dataset or "digits").partition(":")[0],
        "dataset_digest": dataset.digest,
        **{name: list(shared[name]) if isinstance(shared[name], tuple) else shared[name] for name in names},
    }
