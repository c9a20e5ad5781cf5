"""Shadow defenses: the attacker's own, fitted like the real one, target model and all, on random halves of images.

Axes: s shadows, u images of their universe, n members and n non-members.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from adversaries.goals.membership_draws import Universe
from protocols.engine.handles import NO_DEFENSE, DefenseSource
from protocols.engine.outside.release import learns
from protocols.engine.prepared import Prepared
from protocols.engine.settings import digest_of
from protocols.engine.trainer import MODEL_FILE, Trainer
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from vfc.artifact import contents
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed
from vfc.splits import Parts
from vfc.training import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """One shadow defense.

    Args:
        source: how any process gets it.
        digest: of all that it depends on.
    """

    source: DefenseSource
    digest: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every shadow is trained: as what is in question was.

    Args:
        name, width, classes: architecture of the target model.
        training: how it is trained.
        defense, settings: the registered defense that is fitted in front of it; an empty name for none.
        checkpoints: how many states are kept, of the defense if there is one, else of the target model.
    """

    name: str
    width: float
    classes: int
    training: TrainSettings
    defense: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    checkpoints: int = 0


def train_shadows(
    recipe: Recipe, universe: Universe, parts: Parts, trainer: Trainer
) -> tuple[list[ModelJob], list[DefenseJob]]:
    """Train and fit what is missing; the jobs say where target models and defenses are, shadow by shadow."""
    seed, shared = trainer.settings.seed, [recipe.name, recipe.width, recipe.classes, repr(recipe.training)]
    states = 0 if recipe.defense else recipe.checkpoints
    models = [
        ModelJob(
            data=universe.save(shadow, trainer.scratch),
            path=trainer.place("shadow-target", *shared, universe.digest(shadow), seed, shadow, states) / MODEL_FILE,
            name=recipe.name,
            width=recipe.width,
            classes=recipe.classes,
            settings=recipe.training,
            seed=derive_seed("shadow target", shadow, seed),
            device=trainer.device,
            checkpoints=states,
        )
        for shadow in range(len(universe.member))
    ]
    trainer.run_jobs("training shadow targets", train_model, [job for job in models if not job.whole])
    if not recipe.defense:
        return models, []
    held = trainer.arrays("shadow-validation", parts.pool_validation, parts.task)
    own = [recipe.defense, dict(recipe.settings), parts.pool_validation.digest, recipe.checkpoints]
    defenses = [
        DefenseJob(
            data=model.data,
            validation=held,
            target=model.path,
            path=trainer.place("shadow", *own, model.path.parent.name),
            name=recipe.defense,
            settings=recipe.settings,
            undefended=False,
            classes=recipe.classes,
            seed=derive_seed("shadow", shadow, seed),
            device=trainer.device,
            checkpoints=recipe.checkpoints,
        )
        for shadow, model in enumerate(models)
    ]
    trainer.run_jobs("fitting shadow defenses", fit_defense, [job for job in defenses if not job.whole])
    return models, defenses


def fitted_shadows(prepared: Prepared, trainer: Trainer, universe: Universe, code: str) -> list[Shadow]:
    """Fit what is missing and say where it is.

    Args:
        prepared: the real defense and its data.
        trainer: trains and keeps models.
        universe: images of the shadows.
        code: digest of code and versions.

    Raises:
        NotApplicableError: only releases were given, or the defense fits nothing.
        UserError: a fit did not end.
    """
    source, publisher, families = prepared.place.source, prepared.publisher, prepared.families
    if source is None or publisher is None or families is None:
        raise NotApplicableError(NO_DEFENSE)
    if not learns(publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    if families.target in families.outside and source.target is not None:
        raise NotApplicableError("the target model comes from outside, so nobody here can train shadows of it")
    parts = prepared.parts
    digests = _digests(prepared, trainer, universe, code)
    recipe = Recipe(
        name=families.target,
        width=families.width,
        classes=prepared.dataset.classes[parts.task],
        training=trainer.train_settings(int(universe.member[0].sum()), universe.images.shape[-1]),
        defense="" if source.spec is not None else _registered(source),
        settings=publisher.defense.settings(),
    )
    models, defenses = train_shadows(recipe, universe, parts, trainer)
    sources = [DefenseSource(target=job.target, folder=job.path) for job in defenses]
    if source.spec is not None:
        held = trainer.arrays("shadow-validation", parts.pool_validation, parts.task)
        seeds = [derive_seed("shadow", shadow, trainer.settings.seed) for shadow in range(len(models))]
        sources = [
            replace(source, target=model.path, data=model.data, validation=held, seed=own)
            for model, own in zip(models, seeds, strict=True)
        ]
    return [Shadow(source=each, digest=name) for each, name in zip(sources, digests, strict=True)]


def _registered(source: DefenseSource) -> str:
    """The registered name of a saved defense."""
    if source.folder is None:
        raise NotApplicableError(NO_DEFENSE)
    return str(contents(source.folder)[f"{source.file}.safetensors"]["name"])


def _digests(prepared: Prepared, trainer: Trainer, universe: Universe, code: str) -> list[str]:
    """Everything that each shadow depends on; a name for what is kept, and no seed."""
    families, publisher, source = prepared.families, prepared.publisher, prepared.place.source
    if families is None or publisher is None or source is None:
        raise NotApplicableError(NO_DEFENSE)
    # The fitted defense stands for its code and settings, wherever they come from.
    what = [source.spec.attribute if source.spec is not None else _registered(source), prepared.defense_digest]
    found = []
    for shadow, member in enumerate(universe.member):
        rows = universe.digest(shadow, prepared.parts.pool_validation.images)
        trained = repr(trainer.train_settings(int(member.sum()), universe.images.shape[-1]))
        run = [families.target, families.width, trained, trainer.settings.seed, shadow, code]
        found.append(digest_of([what, rows, *run]))
    return found
