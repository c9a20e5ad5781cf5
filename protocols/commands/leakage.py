"""`vfc leakage`: what the layers of any torch module let through, without any attack."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from adversaries.diagnostics.layers import LayerSettings, gray_as_color, layer_names, measure_layers
from adversaries.diagnostics.spectra import Effort
from protocols.commands.options.leakage import OWN
from protocols.commands.options.shared import settings_from
from protocols.commands.output import printing
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.own_module import LayerOptions, build_module, content_of_model, spread
from protocols.engine.prepare import data_of
from protocols.engine.settings import Settings, digest_of
from protocols.engine.workspace import start_torch, workspace
from reports.studies.layers.tables import show
from vfc.artifact import save_arrays, save_json
from vfc.factory import ReleaseSpec
from vfc.seeding import derive_seed

FILE = "leakage.json"
ARRAYS = "leakage.safetensors"
SCHEMA = 1

TABLES = {
    "In how many directions outputs vary over images (90 % interval)": {
        "effective": "leakage.dof.effective",
        "particip.": "leakage.dof.participation",
        "ridge": "leakage.dof.ridge",
        "PCA-99": "leakage.dof.pca99",
        "TwoNN": "leakage.intrinsic_dimension",
    },
    "Ranks of the Jacobian, mean over images (90 % interval)": {
        "rank@1e-3": "leakage.jacobian.rank@1e-3",
        "effective": "leakage.jacobian.effective_rank",
        "stable": "leakage.jacobian.stable_rank",
        "effective, E[J'J]": "mean_jacobian.effective_rank",
    },
}
"""What the terminal shows: titles, and columns with their metrics."""


def run_leakage(options: LayerOptions, settings: Settings, console: Console | None = None) -> int:
    """Measure, save, and show.

    Returns:
        0; 3 if no layer could be measured.

    Raises:
        UserError: anything that the user must change.
    """
    device = start_torch(settings)
    settings, dataset, parts = data_of(settings, ReleaseSpec(kind="registered", text="", source=""))
    origin = options.model or ""
    module = build_module(origin, dataset.classes[parts.task], settings.seed).to(device)
    names = layer_names(module, options.layers or ("*",))
    notes = []
    if any(part.training for part in module.modules()):
        notes.append("The model was in train mode; it is measured in eval mode, as it is deployed.")
    images = spread(parts.targets.images, options.images)
    color = gray_as_color(module, images)
    if color is not None:
        images = color
        notes.append("Gray images are given to the model with their channel repeated three times.")
    identity = _identity(options, settings, dataset.digest)
    out = Path(settings.out) if settings.out else Path("runs") / f"leakage-{digest_of(identity)[:8]}"
    with workspace(settings, out, identity, device, LocalExecutor()) as place:
        started = time.monotonic()
        generator = torch.Generator().manual_seed(derive_seed("layers", settings.seed))
        with place.reporter.stage("measuring layers", len(names)) as stage:
            found = measure_layers(
                module,
                images.to(device),
                names,
                generator,
                settings=LayerSettings(
                    samples=options.samples,
                    straight_through=options.straight_through,
                    effort=Effort(method=options.method, memory=int(options.memory * 2**30)),
                ),
                origin=origin,
                done=stage.advance,
            )
        data = {
            "schema": SCHEMA,
            "settings": {**identity, "model": options.model},
            "images": len(images),
            "image_shape": list(images.shape[1:]),
            "notes": notes,
            "layers": [layer.report() for layer in found],
            "provenance": {"torch": torch.__version__, "device": device, "seconds": time.monotonic() - started},
        }
        arrays = {name: values for layer in found for name, values in layer.arrays.items()}
        save_json(data, out / FILE)
        if arrays:
            save_arrays(arrays, out / ARRAYS)
    with printing():
        if settings.verbosity >= 0:
            samples = min(options.samples, len(images))
            heading = f"{options.model} on {dataset.name}: {len(images)} images, Jacobians at {samples}"
            show(data, heading, TABLES, console or Console(highlight=False))
    return 0 if any(layer.method for layer in found) else 3


def split_options(options: dict[str, Any]) -> tuple[LayerOptions, Settings]:
    """What the command line gave, as this verb's options and the shared ones; what nobody gave keeps its default."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    fresh = given.pop("fresh", False)
    own = {name: given.pop(name) for name in OWN if name in given}
    return LayerOptions(**own), replace(settings_from(given), fresh=fresh)


def _identity(options: LayerOptions, settings: Settings, digest: str) -> dict[str, Any]:
    return {
        "verb": "leakage",
        "model": content_of_model(options.model),
        "layers": list(options.layers),
        "images": options.images,
        "samples": options.samples,
        "method": options.method,
        "memory": options.memory,
        "straight_through": options.straight_through,
        "dataset": (settings.dataset or "digits").partition(":")[0],
        "dataset_digest": digest,
        "labels": list(settings.labels),
        "split": settings.split,
        "split_seed": settings.split_seed,
        "seed": settings.seed,
        "threads": settings.threads,
    }
