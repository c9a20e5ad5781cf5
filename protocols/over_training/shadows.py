"""Shadow trainings: the attacker's own, by the recipe of the one in question, with states kept on the way.

Axes: s shadows, u images of their universe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from protocols.engine.settings import digest_of
from protocols.engine.shadows import Universe
from protocols.engine.trainer import MODEL_FILE, Trainer
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from protocols.over_training.source import Source, of_encoder, of_target
from vfc.checkpoints import FOLDER, Kept, kept
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed
from vfc.splits import Parts
from vfc.training import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Training:
    """How shadows are trained.

    Args:
        target: the kept states of the target, or, for the encoder, nothing but how the target was trained.
        encoder: the kept states of VFC's network; None when the target is in question.
        trainer: trains and keeps models.
        code: digest of code and versions.
    """

    target: Kept
    encoder: Kept | None
    trainer: Trainer
    code: str

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
    models = [_model_job(how, universe, shadow, classes) for shadow in range(len(universe.member))]
    how.trainer.run_jobs("training shadow targets", train_model, [job for job in models if not job.whole])
    if how.encoder is None:
        found = [of_target(kept(job.path.parent / FOLDER, "target"), "shadow") for job in models]
    else:
        held = how.trainer.arrays("shadow-validation", parts.pool_validation, parts.task)
        jobs = [_defense_job(how, how.encoder, model, held, shadow) for shadow, model in enumerate(models)]
        how.trainer.run_jobs("fitting shadow defenses", fit_defense, [job for job in jobs if not job.whole])
        found = [
            of_encoder(kept(job.path / FOLDER, "encoder"), model.path, "shadow")
            for job, model in zip(jobs, models, strict=True)
        ]
    if any(len(each.steps) != len(how.kept.steps) for each in found):
        raise NotApplicableError(f"a shadow trains for fewer steps than the {len(how.kept.steps)} states need")
    return found


def _model_job(how: Training, universe: Universe, shadow: int, classes: int) -> ModelJob:
    architecture, training = how.target.about["architecture"], how.target.about["training"]
    trainer = how.trainer
    states = 0 if how.encoder is not None else len(how.target.steps)
    what = {name: architecture[name] for name in ("name", "width")}
    key = digest_of([what, training, universe.digest(shadow), trainer.settings.seed, shadow, states, how.code])
    return ModelJob(
        data=universe.save(shadow, trainer.scratch),
        path=trainer.root / f"shadow-target-{key[:24]}" / MODEL_FILE,
        name=architecture["name"],
        width=architecture["width"],
        classes=classes,
        # The same steps, so that the same states are kept, though of other images.
        settings=TrainSettings(**training),
        seed=derive_seed("shadow target", shadow, trainer.settings.seed),
        device=trainer.device,
        checkpoints=states,
    )


def _defense_job(how: Training, encoder: Kept, model: ModelJob, held: Path, shadow: int) -> DefenseJob:
    name, settings, states, seed = (
        encoder.about["defense"], encoder.about["training"], len(encoder.steps), how.trainer.settings.seed,
    )  # fmt: skip
    key = digest_of([name, settings, model.path.parent.name, seed, shadow, states, how.code])
    return DefenseJob(
        data=model.data,
        validation=held,
        target=model.path,
        path=how.trainer.root / f"shadow-{key[:24]}",
        name=name,
        settings=settings,
        undefended=False,
        classes=model.classes,
        seed=derive_seed("shadow", shadow, seed),
        device=model.device,
        checkpoints=states,
    )
