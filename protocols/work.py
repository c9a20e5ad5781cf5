"""The jobs that executors run: train a model, fit a defense, compute a cell. They talk through files alone."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.assess import assess
from adversaries.goal import TaskLabel
from adversaries.threat import ThreatModel
from adversaries.world import Part, World
from protocols.cells import Cell, Outcome, save_outcome
from vfc.artifact import load_arrays, load_model, save_arrays, save_defense, save_model
from vfc.config import configured
from vfc.defense import DEFENSES, FitData
from vfc.errors import NotApplicableError, UserError
from vfc.models import build_model, channel_statistics
from vfc.seeding import derive_seed
from vfc.training import TrainSettings, train_classifier

WORLD_PARTS = ("train", "validation", "targets")


@dataclass(frozen=True, kw_only=True)
class ModelJob:
    """Train one classifier.

    Args:
        data: arrays file with `images` and `labels`.
        path: where the model goes.
        name, width, classes: architecture.
        settings: how to train.
        seed: of weights and batches.
        device: where to compute.
    """

    data: Path
    path: Path
    name: str
    width: float
    classes: int
    settings: TrainSettings
    seed: int
    device: str


def train_model(job: ModelJob) -> None:
    """Train and save a classifier."""
    arrays = load_arrays(job.data)
    images = arrays["images"]
    mean, std = channel_statistics(images)
    generator = torch.Generator().manual_seed(job.seed)
    model = build_model(
        job.name,
        channels=images.shape[1],
        side=images.shape[2],
        num_classes=job.classes,
        width=job.width,
        mean=mean,
        std=std,
        generator=generator,
    ).to(job.device)
    train_classifier(model, images, arrays["labels"], job.settings, generator)
    with whole_folder(job.path.parent) as folder:
        save_model(model.float().cpu(), folder / job.path.name)


@dataclass(frozen=True, kw_only=True)
class DefenseJob:
    """Fit one registered defense.

    Args:
        data, validation: arrays files with `images` and `labels`.
        target: the target model's file.
        path: where the defense goes.
        name, settings: which defense.
        undefended: fit its undefended twin instead.
        classes: number of task classes.
        seed: of the fit.
        device: where to compute.
    """

    data: Path
    validation: Path
    target: Path
    path: Path
    name: str
    settings: Mapping[str, Any]
    undefended: bool
    classes: int
    seed: int
    device: str


def fit_defense(job: DefenseJob) -> None:
    """Fit and save a defense, or its undefended twin.

    Raises:
        NotApplicableError: it has no undefended twin.
    """
    defense = configured(DEFENSES.get(job.name), job.settings, job.name)
    if job.undefended:
        twin = defense.undefended()
        if twin is None:
            raise NotApplicableError(f"{job.name} trains no network, so it has no undefended twin")
        defense = twin
    train, validation = load_arrays(job.data), load_arrays(job.validation)
    target = load_model(job.target).to(job.device).eval().requires_grad_(False)
    data = FitData(
        images=train["images"],
        labels=train["labels"],
        validation_images=validation["images"],
        validation_labels=validation["labels"],
        num_classes=job.classes,
        target=target,
    )
    fitted = defense.fit(data, torch.Generator().manual_seed(job.seed))
    with whole_folder(job.path) as folder:
        save_defense(fitted, job.name, folder)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder that appears under its name only when everything is in it; another run's equal one may win."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_world(world: World, models: Mapping[str, Path], folder: Path) -> None:
    """Write a world for the workers; its models are named by their files."""
    arrays: dict[str, Tensor] = {}
    for name in WORLD_PARTS:
        part: Part = getattr(world, name)
        arrays[f"{name}.release"] = part.release
        if part.images is not None:
            arrays[f"{name}.images"] = part.images
        if part.prediction is not None:
            arrays[f"{name}.prediction"] = part.prediction
        for label, values in part.labels.items():
            arrays[f"{name}.labels.{label}"] = values
    folder.mkdir(parents=True, exist_ok=True)
    save_arrays(arrays, folder / "arrays.safetensors")
    about = {
        "classes": dict(world.classes),
        "models": {name: str(path) for name, path in models.items()},
        "twin": world.twin,
    }
    (folder / "world.json").write_text(json.dumps(about))


@lru_cache(maxsize=2)
def load_world(folder: Path, device: str) -> World:
    """Read a world back, on a device."""
    arrays = load_arrays(folder / "arrays.safetensors")
    about = json.loads((folder / "world.json").read_text())
    parts = {}
    for name in WORLD_PARTS:
        prefix = f"{name}.labels."
        optional = {key: arrays.get(f"{name}.{key}") for key in ("images", "prediction")}
        parts[name] = Part(
            release=arrays[f"{name}.release"].to(device),
            labels={key.removeprefix(prefix): v.to(device) for key, v in arrays.items() if key.startswith(prefix)},
            **{key: None if value is None else value.to(device) for key, value in optional.items()},
        )
    models: dict[str, nn.Module] = {
        name: load_model(Path(path)).to(device).eval() for name, path in about["models"].items()
    }
    return World(**parts, classes=about["classes"], models=models, twin=about["twin"])


def reordered(world: World, seed: int) -> World:
    """The attacker's labelled releases in an order of the seed's own: seeds differ in which labels they are granted."""
    generator = torch.Generator().manual_seed(derive_seed("labels", seed))
    order = torch.randperm(len(world.train), generator=generator)
    return replace(world, train=world.train.take(order.to(world.train.release.device)))


def run_cell(cell: Cell, folder: Path, path: Path, device: str) -> Outcome:
    """Compute and save one cell. Whatever an adversary does wrong becomes a failed outcome, never a crash."""
    try:
        outcome = _measure(cell, folder, device)
    except NotApplicableError as reason:
        outcome = Outcome.empty("not_applicable", str(reason))
    except UserError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        reason_text = f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"
        outcome = Outcome.empty("failed", reason_text)
    save_outcome(outcome, path)
    return outcome


def make_adversary(cell: Cell) -> Adversary:
    """The adversary that a cell names, with its options.

    Raises:
        UserError: it does not have such an option, or not such a value.
    """
    adversary = configured(ADVERSARIES.get(cell.adversary), cell.settings, cell.adversary)
    if not cell.doubled:
        return adversary
    doubled = adversary.doubled()
    if doubled is None:
        raise NotApplicableError("it does not train by gradient steps")
    return doubled


def _measure(cell: Cell, folder: Path, device: str) -> Outcome:
    adversary = make_adversary(cell)
    world = reordered(load_world(folder, device), cell.seed)
    graded = assess(
        adversary,
        world,
        TaskLabel(label=cell.label),
        ThreatModel(level=cell.level, labels_per_class=cell.labels_per_class),  # type: ignore[arg-type]
        arm="attack" if cell.arm == "undefended" else cell.arm,
        seed=derive_seed("shuffled", cell.label, cell.seed),
        # The same draw in every arm: on the identity release attack and ceiling are one and the same.
        fit_seed=derive_seed("fit", cell.adversary, sorted(cell.settings.items()), cell.labels_per_class, cell.seed),
    )
    return Outcome(
        status="measured",
        validation=graded.validation.numpy().astype(np.uint8),
        targets=graded.targets.numpy().astype(np.uint8),
        chance=graded.chance,
        flags=graded.flags,
        cost=graded.cost.model_dump(),
    )
