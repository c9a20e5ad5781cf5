"""`vfc leakage`: what the layers of any torch module let through, without any attack."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adversaries.diagnostics.layers import LayerLeakage, LayerSettings, gray_as_color, layer_names, measure_layers
from adversaries.diagnostics.spectra import Effort
from adversaries.evidence import Value
from protocols.commands.options.leakage import OWN
from protocols.commands.options.shared import settings_from
from protocols.commands.output import printing
from protocols.engine.folder import claimed
from protocols.engine.own_module import LayerOptions, build_module, content_of_model, spread
from protocols.engine.prepare import data_of
from protocols.engine.progress import Reporter, Stage
from protocols.engine.settings import Settings, digest_of
from protocols.engine.trainer import pick_device
from vfc.artifact import save_arrays, save_json
from vfc.factory import ReleaseSpec
from vfc.seeding import derive_seed

FILE = "leakage.json"
ARRAYS = "leakage.safetensors"
SCHEMA = 1

_VARIATION = {
    "effective": "leakage.dof.effective",
    "particip.": "leakage.dof.participation",
    "ridge": "leakage.dof.ridge",
    "PCA-99": "leakage.dof.pca99",
    "TwoNN": "leakage.intrinsic_dimension",
}
_JACOBIAN = {
    "rank@1e-3": "leakage.jacobian.rank@1e-3",
    "effective": "leakage.jacobian.effective_rank",
    "stable": "leakage.jacobian.stable_rank",
    "effective, E[J'J]": "mean_jacobian.effective_rank",
}


def run_leakage(options: LayerOptions, settings: Settings, console: Console | None = None) -> int:
    """Measure, save, and show.

    Returns:
        0; 3 if no layer could be measured.

    Raises:
        UserError: anything that the user must change.
    """
    torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    reporter = Reporter(quiet=settings.verbosity < 0, verbose=settings.verbosity > 0)
    _, dataset, parts = data_of(settings, ReleaseSpec(kind="registered", text="", source=""))
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
    with claimed(out, identity, fresh=settings.fresh):
        reporter.note(f"writing to {out}")
        started = time.monotonic()
        generator = torch.Generator().manual_seed(derive_seed("layers", settings.seed))
        with reporter.stage("measuring layers", len(names)) as stage:
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
                done=lambda name: _advance(stage, name),
            )
        data = {
            "schema": SCHEMA,
            "settings": {**identity, "model": options.model},
            "images": len(images),
            "image_shape": list(images.shape[1:]),
            "notes": notes,
            "layers": [_layer(layer) for layer in found],
            "provenance": {"torch": torch.__version__, "device": device, "seconds": time.monotonic() - started},
        }
        arrays = {name: values for layer in found for name, values in layer.arrays.items()}
        save_json(data, out / FILE)
        if arrays:
            save_arrays(arrays, out / ARRAYS)
    with printing():
        if settings.verbosity >= 0:
            show(found, notes, options, dataset.name, len(images), console or Console(highlight=False))
    return 0 if any(layer.method for layer in found) else 3


def split_options(options: dict[str, Any]) -> tuple[LayerOptions, Settings]:
    """What the command line gave, as this verb's options and the shared ones; what nobody gave keeps its default."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    fresh = given.pop("fresh", False)
    own = {name: given.pop(name) for name in OWN if name in given}
    return LayerOptions(**own), replace(settings_from(given), fresh=fresh)


def _advance(stage: Stage, name: str) -> None:
    stage.advance(name)


def show(
    layers: Sequence[LayerLeakage],
    notes: Sequence[str],
    options: LayerOptions,
    dataset: str,
    images: int,
    console: Console,
) -> None:
    """Two tables with a row for each layer, then the reasons for what is missing, and how spectra were computed."""
    heading = f"{options.model} on {dataset}: {images} images, Jacobians at {min(options.samples, images)}"
    console.print(heading, style="bold", markup=False)
    console.print("\nIn how many directions outputs vary over images (90 % interval)")
    console.print(_table(layers, _VARIATION))
    console.print("\nRanks of the Jacobian, mean over images (90 % interval)")
    console.print(_table(layers, _JACOBIAN))
    console.print("\nNo attack ran: these numbers are no leakage by themselves.", style="dim")
    for how in dict.fromkeys(layer.method for layer in layers if layer.method):
        which = ", ".join(layer.name for layer in layers if layer.method == how)
        console.print(f"{which}: {how}", style="dim", markup=False)
    for layer in layers:
        reasons = {value.reason for value in layer.values.values() if value.value is None and value.reason}
        for text in (*layer.notes, *sorted(reasons)):
            console.print(f"{layer.name}: {text}", markup=False)
    for note in notes:
        console.print(note, markup=False)


def _table(layers: Sequence[LayerLeakage], columns: Mapping[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("layer", "values", *columns):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=column != "layer")
    for layer in layers:
        size = f"{math.prod(layer.shape):,}" if layer.shape else "-"
        cells = [_cell(layer.values.get(name)) for name in columns.values()]
        table.add_row(escape(layer.name), size, *cells)
    return table


def _cell(value: Value | None) -> str:
    if value is None or value.value is None:
        return "-"
    if value.low is None or value.high is None or value.low == value.high:
        return _number(value.value)
    half = (value.high - value.low) / 2
    shown = f"{half:.0f}" if half >= 10 else f"{half:.1g}"
    return f"{_number(value.value)} [dim]±{shown}[/dim]"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _layer(layer: LayerLeakage) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "method": layer.method,
        "notes": list(layer.notes),
        "metrics": {name: value.model_dump(mode="json") for name, value in sorted(layer.values.items())},
    }


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
        "seed": settings.seed,
        "threads": settings.threads,
    }
