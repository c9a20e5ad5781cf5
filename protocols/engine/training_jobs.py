"""The jobs that executors run: train a model, fit a defense, do a task. They talk through files alone."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocols.engine.handles import EvaluationHandle, fit_data, size_of
from protocols.engine.task import Outcome, Task, save_outcome
from vfc.artifact import is_whole, load_arrays, load_json, load_model, save_defense, save_json, save_model, whole_folder
from vfc.checkpoints import FOLDER, Keeper
from vfc.config import configured
from vfc.core.trainer import watch_steps
from vfc.data import ImageSet
from vfc.defense import DEFENSES
from vfc.errors import HeldElsewhereError, NotApplicableError
from vfc.isolation.user_code import defender_call
from vfc.models import build_model, channel_statistics
from vfc.training import TrainSettings, train_classifier

FITTED = "fitted.json"
"""Beside a fitted defense: how long that took, for those who find it in the cache."""

HASH = 16
"""Hexadecimal digits of an image's hash that name it in a list of members."""


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
        checkpoints: how many states on the way are kept, in a folder beside the model; 0 for none.
    """

    data: Path
    path: Path
    name: str
    width: float
    classes: int
    settings: TrainSettings
    seed: int
    device: str
    checkpoints: int = 0

    @property
    def size(self) -> int:
        """Bytes that it reads."""
        return size_of(self.data)

    @property
    def whole(self) -> bool:
        """Whether the model is there with all that was asked for."""
        return is_whole(self.path.parent) and (not self.checkpoints or is_whole(self.path.parent / FOLDER))


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
    steps, keeper = job.settings.steps, Keeper(job.checkpoints)
    watch = (lambda step, _loss: keeper.keep(model, step + 1, steps)) if job.checkpoints else None
    if job.checkpoints:
        keeper.keep(model, 0, steps)
    train_classifier(model, images, arrays["labels"], job.settings, generator, on_step=watch)
    with whole_folder(job.path.parent) as folder:
        save_model(model.float().cpu(), folder / job.path.name)
        if job.checkpoints:
            about = {"architecture": model.arch, "training": asdict(job.settings), "seed": job.seed}
            keeper.save(folder / FOLDER, "target", {**about, "members": _members(images)}, extra={})


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
        checkpoints: how many states of a VFC network are kept while it trains; 0 for none.
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
    checkpoints: int = 0

    @property
    def size(self) -> int:
        """Bytes that it reads."""
        return size_of(self.data)

    @property
    def whole(self) -> bool:
        """Whether the defense is there; only the training of a VFC network leaves checkpoints."""
        return is_whole(self.path) and (not (self.path / FOLDER).exists() or is_whole(self.path / FOLDER))


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
    target = load_model(job.target).to(job.device).eval().requires_grad_(False)
    data = fit_data(job.data, job.validation, job.classes, target)
    keeper = Keeper(job.checkpoints)
    with watch_steps(keeper.keep) if job.checkpoints else contextlib.nullcontext():
        generator, started = torch.Generator().manual_seed(job.seed), time.monotonic()
        fitted = defender_call(defense, lambda: defense.fit(data, generator), limit="fit")
        took = time.monotonic() - started
    with whole_folder(job.path) as folder:
        save_defense(fitted, job.name, folder)
        save_json({"seconds": took}, folder / FITTED)
        if keeper.states:
            shape = torch.tensor(data.images.shape[1:])
            about = {"defense": job.name, "training": fitted.settings(), "seed": job.seed}
            keeper.save(folder / FOLDER, "encoder", {**about, "members": _members(data.images)}, extra={"shape": shape})


def fit_seconds(folder: Path) -> float | None:
    """How long the defense in a folder took to be fitted, whenever that was; None where nobody wrote it down."""
    return float(load_json(folder / FITTED)["seconds"]) if (folder / FITTED).is_file() else None


def _members(images: Tensor) -> list[str]:
    """What was trained on, as the beginnings of the hashes by which images are known."""
    return [digest.hex()[:HASH] for digest in ImageSet(images=images, labels={}).row_hashes]


def run_task(task: Task, place: EvaluationHandle, path: Path) -> Outcome:
    """Do and save one task. Whatever an adversary does wrong becomes a failed outcome, never a crash.

    Raises:
        HeldElsewhereError: it asks for a defense that only the process of the caller can ask.
    """
    try:
        outcome = task.measure(place)
    except HeldElsewhereError:
        raise
    except NotApplicableError as reason:
        outcome = Outcome.empty("not_applicable", str(reason))
    except (Exception, SystemExit) as error:
        # Even one that asks for the end of the program ends itself alone.
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        reason_text = f"{type(error).__name__}: {text} ({Path(where.filename).name}:{where.lineno})"
        outcome = Outcome.empty("failed", reason_text)
    save_outcome(outcome, path)
    return outcome
