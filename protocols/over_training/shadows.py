"""Shadow trainings: the attacker's own, by the recipe of the one in question, with states kept on the way.

Axes: s shadows, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocols.engine.executors import LocalExecutor
from protocols.engine.progress import Reporter
from protocols.engine.settings import digest_of
from protocols.engine.shadows import Universe
from protocols.engine.trainer import MODEL_FILE
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from protocols.over_training.source import Source, of_encoder, of_target
from vfc.artifact import save_arrays
from vfc.checkpoints import FOLDER, Kept, kept
from vfc.data import ImageSet
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest
from vfc.seeding import derive_seed
from vfc.splits import Parts
from vfc.training import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Training:
    """How shadows are trained.

    Args:
        target: the kept states of the target, or, for the encoder, nothing but how the target was trained.
        encoder: the kept states of VFC's network; None when the target is in question.
        root: folder of trained parts.
        scratch: folder of the arrays that jobs read.
        seed: of the attack.
        device: where to compute.
        code: digest of code and versions.
        reporter: who tells.
    """

    target: Kept
    encoder: Kept | None
    root: Path
    scratch: Path
    seed: int
    device: str
    code: str
    reporter: Reporter

    @property
    def kept(self) -> Kept:
        """The states in question."""
        return self.encoder or self.target


def universe_of(parts: Parts, shadows: int, seed: int, *, whole: bool) -> Universe:
    """The attacker's pool, and for every shadow as many of it as the network in question was trained on.

    At most two thirds, or a shadow would have too few images that it does not know.

    Args:
        parts: who owns what.
        shadows: how many.
        seed: of the draw.
        whole: with its validation part, which nobody tunes on here; a shadow defense may.
    """
    owned = (parts.pool_train, parts.pool_validation) if whole else (parts.pool_train,)
    images = torch.cat([each.images for each in owned])
    labels = torch.cat([each.labels[parts.task] for each in owned])
    return Universe.drawn(images, labels, shadows, seed, size=min(len(parts.defender_train), 2 * len(images) // 3))


def trained_shadows(how: Training, universe: Universe, parts: Parts, classes: int) -> list[Source]:
    """Train what is missing; every shadow has as many states as the training in question.

    Raises:
        NotApplicableError: a shadow's training is too short for that.
    """
    held = how.scratch / "validation" / "arrays.safetensors"
    save_arrays({"images": parts.pool_validation.images, "labels": parts.pool_validation.labels[parts.task]}, held)
    count = len(universe.member)
    data = [_arrays(how, universe, shadow) for shadow in range(count)]
    models = [_model_job(how, universe, shadow, data[shadow], classes) for shadow in range(count)]
    _run(how.reporter, "training shadow targets", train_model, [job for job in models if not job.whole])
    if how.encoder is None:
        found = [of_target(kept(job.path.parent / FOLDER, "target"), "shadow") for job in models]
    else:
        jobs = [_defense_job(how, model, data[shadow], held, shadow) for shadow, model in enumerate(models)]
        _run(how.reporter, "fitting shadow defenses", fit_defense, [job for job in jobs if not job.whole])
        found = [
            of_encoder(kept(job.path / FOLDER, "encoder"), model.path, "shadow")
            for job, model in zip(jobs, models, strict=True)
        ]
    if any(len(each.steps) != len(how.kept.steps) for each in found):
        raise NotApplicableError(f"a shadow trains for fewer steps than the {len(how.kept.steps)} states need")
    return found


def hashes(images: Tensor) -> tuple[bytes, ...]:
    """By what images are known."""
    return ImageSet(images=images, labels={}).row_hashes


def _arrays(how: Training, universe: Universe, shadow: int) -> Path:
    member = universe.member[shadow]
    path = how.scratch / f"shadow-{shadow}" / "arrays.safetensors"
    save_arrays({"images": universe.images[member], "labels": universe.labels[member]}, path)
    return path


def _model_job(how: Training, universe: Universe, shadow: int, data: Path, classes: int) -> ModelJob:
    architecture, training = how.target.about["architecture"], how.target.about["training"]
    member = universe.member[shadow]
    rows = tensor_digest(universe.images[member], universe.labels[member])
    states = 0 if how.encoder is not None else len(how.target.steps)
    what = {name: architecture[name] for name in ("name", "width")}
    key = digest_of([what, training, rows, how.seed, shadow, states, how.code])
    return ModelJob(
        data=data,
        path=how.root / f"shadow-target-{key[:24]}" / MODEL_FILE,
        name=architecture["name"],
        width=architecture["width"],
        classes=classes,
        # The same steps, so that the same states are kept, though of other images.
        settings=TrainSettings(**training),
        seed=derive_seed("shadow target", shadow, how.seed),
        device=how.device,
        checkpoints=states,
    )


def _defense_job(how: Training, model: ModelJob, data: Path, held: Path, shadow: int) -> DefenseJob:
    if how.encoder is None:
        raise ValueError("expected the states of an encoder")
    name, settings, states = how.encoder.about["defense"], how.encoder.about["training"], len(how.encoder.steps)
    key = digest_of([name, settings, model.path.parent.name, how.seed, shadow, states, how.code])
    return DefenseJob(
        data=data,
        validation=held,
        target=model.path,
        path=how.root / f"shadow-{key[:24]}",
        name=name,
        settings=settings,
        undefended=False,
        classes=model.classes,
        seed=derive_seed("shadow", shadow, how.seed),
        device=how.device,
        checkpoints=states,
    )


def _run(reporter: Reporter, name: str, function: Callable[..., None], jobs: Sequence[Any]) -> None:
    with reporter.stage(name, len(jobs)) as stage:
        for position, result in LocalExecutor().run(function, [(job,) for job in jobs]):
            if isinstance(result, BaseException):
                raise result
            stage.advance(f"shadow {position}")
