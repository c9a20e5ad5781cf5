"""Shadow defenses: the attacker's own, fitted like the real one, target model and all, on random halves of images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protocols.engine.executors import WorkerDiedError
from protocols.engine.handles import DefenseSource
from protocols.engine.identity import fingerprint
from protocols.engine.settings import digest_of
from protocols.engine.trainer import MODEL_FILE, is_whole
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from protocols.evaluation.context import Context
from vfc.artifact import contents, save_arrays
from vfc.defense import Defense
from vfc.errors import NotApplicableError, UserError
from vfc.release import tensor_digest
from vfc.seeding import derive_seed
from vfc.wrapper import ModuleDefense


@dataclass(frozen=True, kw_only=True)
class Universe:
    """The images of which every shadow is fitted on a random part, half of them unless said otherwise.

    Args:
        images, labels: of all of them.
        member: which shadow is fitted on which; (s, u).
    """

    images: Float[Tensor, "u c h w"]
    labels: Int[Tensor, " u"]
    member: Bool[Tensor, "s u"]

    @classmethod
    def drawn(cls, images: Tensor, labels: Tensor, shadows: int, seed: int, *, size: int | None = None) -> Universe:
        """A random half, or as many images as said, for every shadow.

        Drawn for each by itself: how many of the others hold an image must not tell whether one that is held out does,
        or thresholds would be fixed on that.

        Args:
            images, labels: of all of them.
            shadows: how many.
            seed: of the draw.
            size: images of every shadow, 1 to u; None for half of u, rounded down.
        """
        size = len(images) // 2 if size is None else size
        member = torch.zeros(shadows, len(images), dtype=torch.bool)
        for shadow in range(shadows):
            generator = torch.Generator().manual_seed(derive_seed("shadow half", shadow, seed))
            member[shadow, torch.randperm(len(images), generator=generator)[:size]] = True
        return cls(images=images, labels=labels, member=member)


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """One shadow defense.

    Args:
        source: how any process gets it.
        digest: of all that it depends on.
    """

    source: DefenseSource
    digest: str


def learns(defense: Defense) -> bool:
    """Whether a defense is fitted on anything."""
    if isinstance(defense, ModuleDefense):
        return callable(getattr(defense.module, "fit", None))
    return type(defense).fit is not Defense.fit


def fitted_shadows(context: Context, universe: Universe) -> list[Shadow]:
    """Fit what is missing and say where it is.

    Raises:
        NotApplicableError: only releases were given, or the defense fits nothing.
        UserError: a fit did not end.
    """
    prepared = context.prepared
    source = prepared.place.source
    if source is None or prepared.publisher is None or prepared.families is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    if not learns(prepared.publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    count = len(universe.member)
    data = [_arrays(context, universe, shadow) for shadow in range(count)]
    held = context.scratch / "shadow-validation" / "arrays.safetensors"
    validation = prepared.parts.pool_validation
    if not held.exists():
        save_arrays({"images": validation.images, "labels": validation.labels[prepared.parts.task]}, held)
    names = [_digests(context, universe, shadow) for shadow in range(count)]
    models = [_model_job(context, universe, shadow, data[shadow], names[shadow]) for shadow in range(count)]
    _run(context, "training shadow targets", train_model, [m for m in models if not is_whole(m.path.parent)])
    if source.spec is not None:
        sources = [
            replace(
                source,
                target=model.path,
                data=data[shadow],
                validation=held,
                seed=derive_seed("shadow", shadow, context.settings.seed),
            )
            for shadow, model in enumerate(models)
        ]
        return [Shadow(source=each, digest=name) for each, name in zip(sources, names, strict=True)]
    jobs = [
        DefenseJob(
            data=data[shadow],
            validation=held,
            target=model.path,
            path=context.trainer.root / f"shadow-{names[shadow][:24]}",
            name=_registered(source),
            settings=prepared.publisher.defense.settings(),
            undefended=False,
            classes=prepared.dataset.classes[prepared.parts.task],
            seed=derive_seed("shadow", shadow, context.settings.seed),
            device=prepared.place.device,
        )
        for shadow, model in enumerate(models)
    ]
    _run(context, "fitting shadow defenses", fit_defense, [job for job in jobs if not is_whole(job.path)])
    return [
        Shadow(source=DefenseSource(target=model.path, folder=job.path), digest=name)
        for model, job, name in zip(models, jobs, names, strict=True)
    ]


def _registered(source: DefenseSource) -> str:
    """The registered name of a saved defense."""
    if source.folder is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    return str(contents(source.folder)[f"{source.file}.safetensors"]["name"])


def _digests(context: Context, universe: Universe, shadow: int) -> str:
    """Everything that a shadow depends on."""
    prepared = context.prepared
    families, publisher, source = prepared.families, prepared.publisher, prepared.place.source
    if families is None or publisher is None or source is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    # The fitted defense stands for its code and settings, wherever they come from.
    what = [source.spec.text if source.spec is not None else _registered(source), fingerprint(publisher.defense)]
    member = universe.member[shadow]
    rows = tensor_digest(universe.images[member], universe.labels[member], prepared.parts.pool_validation.images)
    trained = repr(context.trainer.train_settings(int(member.sum()), universe.images.shape[-1]))
    run = [families.target, families.width, trained, context.settings.seed, shadow, context.runner.code]
    return digest_of([what, rows, *run])


def _model_job(context: Context, universe: Universe, shadow: int, data: Path, digest: str) -> ModelJob:
    prepared = context.prepared
    families = prepared.families
    if families is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    return ModelJob(
        data=data,
        path=context.trainer.root / f"shadow-target-{digest[:24]}" / MODEL_FILE,
        name=families.target,
        width=families.width,
        classes=prepared.dataset.classes[prepared.parts.task],
        settings=context.trainer.train_settings(int(universe.member[shadow].sum()), universe.images.shape[-1]),
        seed=derive_seed("shadow target", shadow, context.settings.seed),
        device=prepared.place.device,
    )


def _arrays(context: Context, universe: Universe, shadow: int) -> Path:
    member = universe.member[shadow]
    path = context.scratch / f"shadow-{shadow}" / "arrays.safetensors"
    save_arrays({"images": universe.images[member], "labels": universe.labels[member]}, path)
    return path


def _run(context: Context, name: str, function: Any, jobs: list[Any]) -> None:
    with context.runner.reporter.stage(name, len(jobs)) as stage:
        for position, result in context.runner.executor.run(function, [(job,) for job in jobs]):
            if isinstance(result, (MemoryError, WorkerDiedError)):
                raise UserError(f"{name} did not end: {result}", "try --workers 1, or less data") from result
            if isinstance(result, BaseException):
                raise result
            stage.advance(jobs[position].path.parent.name)
