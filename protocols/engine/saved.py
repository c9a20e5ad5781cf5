"""Saved arrays as a data set, so that they are split like every other."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from protocols.engine.handles import EvaluationHandle, save_world
from protocols.engine.prepared import Digests, Prepared, TargetRows, overlap_of, world_digest
from protocols.engine.publish import Observed
from protocols.engine.settings import Settings
from protocols.engine.trainer import Families, Trainer
from vfc.data import Dataset, ImageSet, check_dataset, count_classes
from vfc.errors import UserError
from vfc.factory import ReleaseSpec, load_arrays_release
from vfc.splits import Parts


@lru_cache(maxsize=1)
def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays, validated, read once."""
    return load_arrays_release(path)


def arrays_dataset(path: Path) -> Dataset:
    """A data set whose label `row` says which row of the arrays an image is.

    With originals the split goes by their content. Without them it goes by the content of the releases; equal releases
    may stand for different images (a constant release, say), so none of them is taken for a duplicate.
    """
    saved = read_arrays(path)
    for name in ("attr_label", "attr_row"):
        if name in saved:
            raise UserError(f"expected attributes of other names, got {name!r} in {path}", "rename the array")
    labels = {"label": saved["label"]}
    labels |= {name.removeprefix("attr_"): values for name, values in saved.items() if name.startswith("attr_")}
    images = saved["image"].float() if "image" in saved else _stand_ins(saved["release"], saved["label"])
    rows = ImageSet(images=images, labels=labels)
    classes = count_classes(rows)
    check_dataset(Dataset(name=path.name, task="label", train=rows, test=None, classes=classes))
    if "prediction" in saved and int(saved["prediction"].max()) >= classes["label"]:
        raise UserError(
            f"expected predictions below {classes['label']} in {path}, got {int(saved['prediction'].max())}",
            "save predicted classes, numbered as in `label`",
        )
    rows = ImageSet(images=images, labels={**labels, "row": torch.arange(len(images))})
    return Dataset(name=path.name, task="label", train=rows, test=None, classes=classes)


def prepare_arrays(
    settings: Settings, spec: ReleaseSpec, dataset: Dataset, parts: Parts, trainer: Trainer, scratch: Path
) -> Prepared:
    """Saved arrays as a prepared evaluation: no defense to ask, no target but the saved predictions."""
    saved = read_arrays(Path(spec.source))
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
        families = Families.of(settings, dataset.shape[1], twin=False)
        _, models = trainer.models(dataset, parts, families)
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
    target = TargetRows()
    if world.targets.prediction is not None:
        hits = world.targets.prediction == world.targets.labels["label"]
        target = TargetRows(release=hits.numpy().astype(np.uint8))
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


def _stand_ins(release: Tensor, label: Tensor) -> Tensor:
    """One distinct 1x4x8 tensor per row, made from the hash of release, label and how often both occurred before."""
    seen: Counter[bytes] = Counter()
    made = []
    for values, y in zip(release.contiguous().numpy(), label.tolist(), strict=True):
        content = hashlib.sha256(values.tobytes() + str(y).encode()).digest()
        seen[content] += 1
        made.append(hashlib.sha256(content + str(seen[content]).encode()).digest())
    codes = np.frombuffer(b"".join(made), np.uint8).reshape(-1, 1, 4, 8)
    return torch.from_numpy(codes.astype(np.float32) / 255)
