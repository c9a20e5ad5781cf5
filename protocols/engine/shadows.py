"""Shadow defenses: the attacker's own, fitted like the real one, target model and all, on random halves of images.

Axes: s shadows, u images of their universe, n members and n non-members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from protocols.engine.handles import NO_DEFENSE, DefenseSource
from protocols.engine.prepared import Prepared
from protocols.engine.settings import digest_of
from protocols.engine.trainer import MODEL_FILE, Trainer
from protocols.engine.training_jobs import DefenseJob, ModelJob, fit_defense, train_model
from vfc.artifact import contents, save_arrays
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest
from vfc.seeding import derive_seed
from vfc.splits import Parts
from vfc.wrapper import ModuleDefense


@dataclass(frozen=True, kw_only=True)
class Question:
    """The images whose membership is asked.

    Args:
        images, labels: members and non-members, mixed.
        member: which of them are members; never shown to an adversary.
    """

    images: Float[Tensor, "m c h w"]
    labels: Int[Tensor, " m"]
    member: Bool[Tensor, " m"]

    @classmethod
    def drawn(cls, parts: Parts, most: int, seed: int) -> Question:
        """As many images that were trained on as targets, from one random draw.

        Args:
            parts: who owns what.
            most: members, at most.
            seed: of the draw.
        """
        sides = (parts.defender_train, parts.targets)
        n = min(most, *(len(side) for side in sides))
        generator = torch.Generator().manual_seed(derive_seed("membership draw", seed))
        rows = [torch.randperm(len(side), generator=generator)[:n] for side in sides]
        mixed = torch.randperm(2 * n, generator=generator)

        def both(of: Sequence[Tensor]) -> Tensor:
            return torch.cat([values[chosen] for values, chosen in zip(of, rows, strict=True)])[mixed]

        return cls(
            images=both([side.images for side in sides]),
            labels=both([side.labels[parts.task] for side in sides]),
            member=(torch.arange(2 * n) < n)[mixed],
        )


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

    def digest(self, shadow: int, *more: Tensor) -> str:
        """Content hash of what one shadow is fitted on, and of further tensors."""
        member = self.member[shadow]
        return tensor_digest(self.images[member], self.labels[member], *more)

    def save(self, shadow: int, folder: Path) -> Path:
        """Write what one shadow is fitted on into a folder of its own; returns the file."""
        member = self.member[shadow]
        path = folder / f"shadow-{shadow}" / "arrays.safetensors"
        save_arrays({"images": self.images[member], "labels": self.labels[member]}, path)
        return path


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
    source, publisher = prepared.place.source, prepared.publisher
    if source is None or publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    if not learns(publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    parts, seed = prepared.parts, trainer.settings.seed
    held = trainer.arrays("shadow-validation", parts.pool_validation, parts.task)
    names = _digests(prepared, trainer, universe, code)
    models = [_model_job(prepared, trainer, universe, shadow, name) for shadow, name in enumerate(names)]
    trainer.run_jobs("training shadow targets", train_model, [job for job in models if not job.whole])
    seeds = [derive_seed("shadow", shadow, seed) for shadow in range(len(models))]
    if source.spec is not None:
        sources = [
            replace(source, target=model.path, data=model.data, validation=held, seed=own)
            for model, own in zip(models, seeds, strict=True)
        ]
    else:
        jobs = [
            DefenseJob(
                data=model.data,
                validation=held,
                target=model.path,
                path=trainer.root / f"shadow-{name[:24]}",
                name=_registered(source),
                settings=publisher.defense.settings(),
                undefended=False,
                classes=model.classes,
                seed=own,
                device=model.device,
            )
            for model, name, own in zip(models, names, seeds, strict=True)
        ]
        trainer.run_jobs("fitting shadow defenses", fit_defense, [job for job in jobs if not job.whole])
        sources = [DefenseSource(target=job.target, folder=job.path) for job in jobs]
    return [Shadow(source=each, digest=name) for each, name in zip(sources, names, strict=True)]


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


def _model_job(prepared: Prepared, trainer: Trainer, universe: Universe, shadow: int, digest: str) -> ModelJob:
    families = prepared.families
    if families is None:
        raise NotApplicableError(NO_DEFENSE)
    return ModelJob(
        data=universe.save(shadow, trainer.scratch),
        path=trainer.root / f"shadow-target-{digest[:24]}" / MODEL_FILE,
        name=families.target,
        width=families.width,
        classes=prepared.dataset.classes[prepared.parts.task],
        settings=trainer.train_settings(int(universe.member[shadow].sum()), universe.images.shape[-1]),
        seed=derive_seed("shadow target", shadow, trainer.settings.seed),
        device=prepared.place.device,
    )
