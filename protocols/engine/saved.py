"""Saved arrays as a prepared evaluation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part, mapped_world, save_world
from protocols.engine.handles import EvaluationHandle
from protocols.engine.outside.families import Families
from protocols.engine.prepared import Digests, Prepared, TargetRows, overlap_of, world_digest
from protocols.engine.settings import Settings
from protocols.engine.task import Rows
from protocols.engine.trainer import Trainer
from vfc.data import Dataset, ImageSet
from vfc.datasets.saved_arrays import read_arrays
from vfc.factory import ReleaseSpec
from vfc.release import Observed
from vfc.splits import Parts


def prepare_arrays(
    settings: Settings, spec: ReleaseSpec, dataset: Dataset, parts: Parts, trainer: Trainer, scratch: Path
) -> Prepared:
    """Saved arrays as a prepared evaluation: no defense to ask, no target but the saved predictions."""
    saved = read_arrays(Path(spec.source))
    read_arrays.cache_clear()  # nobody else needs them, and they may be large
    with_images = "image" in saved
    attributes = {name: values for name, values in saved.items() if name.startswith("attr_")}

    def part(images: ImageSet) -> Part:
        rows = images.labels["row"]
        return Part(
            images=saved["image"][rows] if with_images else None,
            release=saved["release"][rows],
            labels={"label": saved["label"][rows], **{n.removeprefix("attr_"): v[rows] for n, v in attributes.items()}},
            prediction=saved["prediction"][rows] if "prediction" in saved else None,
        )

    families: Families | None = None
    models: dict[str, Path] = {}
    if with_images:
        families = Families.of(settings, dataset, twin=False)
        models = trainer.unintended(dataset, parts, families)
    classes = {name: count for name, count in dataset.classes.items() if name != "row"}
    world = EvaluationData(
        train=part(parts.pool_train),
        validation=part(parts.pool_validation),
        targets=part(parts.targets),
        classes=classes,
    )
    digest = world_digest(world, models)
    folder = scratch / f"world-{digest[:24]}"
    save_world(world, models, folder)
    world = mapped_world(folder)
    target = TargetRows()
    if world.targets.prediction is not None:
        truth = world.targets.labels["label"]
        clean = saved["clean_prediction"][parts.targets.labels["row"]] if "clean_prediction" in saved else None
        target = TargetRows(
            release=_hits(world.targets.prediction, truth), clean=None if clean is None else _hits(clean, truth)
        )
    return Prepared(
        dataset=replace(dataset, classes=classes),
        parts=parts,
        world=world,
        models=models,
        place=EvaluationHandle(folder=folder, device=trainer.device),
        undefended=None,
        digests=Digests(world=digest, clean=world_digest(world, models, releases=False)),
        publisher=None,
        target=target,
        observed=Observed.of_values(saved["release"]),
        families=families,
        kind="arrays",
        name=spec.name,
        targetless="" if target.release is not None else "the arrays hold no `prediction`",
        overlap=overlap_of(parts),
    )


def _hits(guess: Tensor, truth: Tensor) -> Rows:
    return (guess == truth).numpy().astype(np.uint8)
