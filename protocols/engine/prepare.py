"""From settings to everything that an attack needs: data, split, trained parts, releases, and the world on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part, check_world, save_world
from protocols.engine.folder import load_run
from protocols.engine.handles import DefenseSource, EvaluationHandle, made
from protocols.engine.identity import code_of_factory, content_of
from protocols.engine.prepared import Digests, Prepared, TargetRows, overlap_of, world_digest
from protocols.engine.progress import Reporter
from protocols.engine.publish import Publisher, picture_of
from protocols.engine.saved import prepare_arrays
from protocols.engine.settings import Settings, digest_of
from protocols.engine.trainer import Families, Trainer
from vfc.artifact import contents
from vfc.config import configured
from vfc.data import Dataset, ImageSet, load_dataset
from vfc.datasets.saved_arrays import arrays_dataset
from vfc.defense import DEFENSES, Defense
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.seeding import derive_seed
from vfc.splits import Parts, split
from vfc.training import predict_logits
from vfc.wrapper import ModuleDefense


def data_of(settings: Settings, spec: ReleaseSpec) -> tuple[Settings, Dataset, Parts]:
    """The data of a run; a run folder brings its own data settings along.

    Raises:
        UserError: data that cannot be used, or options that contradict the run folder.
    """
    settings = replace(settings, dataset=absolute(settings.dataset))
    if spec.kind == "folder":
        settings = with_run(settings, Path(spec.source))
    if spec.kind == "arrays":
        default = Settings()
        for name in ("dataset", "task", "attributes", "labels", "split"):
            if getattr(settings, name) != getattr(default, name):
                raise UserError(f"expected no --{name} beside saved arrays, which bring their own", "leave it out")
        dataset = arrays_dataset(Path(spec.source))
        return named_by_content(settings, spec, dataset), dataset, split(dataset, paper=True)
    dataset = load_dataset(
        settings.dataset or "digits",
        task=settings.task,
        labels=settings.labels,
        root=Path(settings.data_root) if settings.data_root else None,
        download=settings.download,
    )
    if spec.kind == "folder":
        trained_on = load_run(Path(spec.source))["dataset_digest"]
        if dataset.digest != trained_on:
            raise UserError(
                f"expected the data that {spec.source} was trained on (digest {trained_on[:12]}), got other data "
                f"(digest {dataset.digest[:12]}) as {settings.dataset}",
                "restore the data, or train again",
            )
    for name in settings.attributes:
        if name not in dataset.attributes:
            raise UserError(
                f"expected attributes among {', '.join(dataset.attributes) or 'none'}, got {name!r}",
                "derive one with --label",
            )
    # A default and the same value given by name are one run.
    settings = replace(settings, dataset=settings.dataset or "digits", task=dataset.task)
    settings = named_by_content(settings, spec, dataset)
    return settings, dataset, split(dataset, paper=settings.split == "paper")


def named_by_content(settings: Settings, spec: ReleaseSpec, dataset: Dataset) -> Settings:
    """The settings with the content of what was given as a file: where it lies is no part of a run's identity."""
    given = dict(settings.identity_extra)
    if spec.text and spec.kind != "registered":
        given["release"] = content_of(spec)
    if ":" in (settings.dataset or ""):
        given["dataset"] = f"{str(settings.dataset).partition(':')[0]} {dataset.digest}"
    return replace(settings, identity_extra=tuple(given.items()))


def absolute(dataset: str | None) -> str | None:
    """A data set with its path, if it has one, made absolute, so that a run folder can be used from anywhere."""
    kind, colon, path = (dataset or "").partition(":")
    return f"{kind}:{Path(path).resolve()}" if colon and kind in ("npz", "folder") and path else dataset


def with_run(settings: Settings, folder: Path) -> Settings:
    """The settings with the data and models of a run folder; contradictions are a `UserError`."""
    run = load_run(folder)
    default = Settings()
    changes: dict[str, Any] = {}
    for name in ("dataset", "task", "labels", "split", "target", "unintended", "width"):
        theirs = tuple(run[name]) if isinstance(run[name], list) else run[name]
        ours = getattr(settings, name)
        if ours not in (getattr(default, name), theirs):
            raise UserError(f"expected --{name} {theirs} as in {folder}, got {ours}", "leave it out, or train again")
        changes[name] = theirs
    # The seed of the attack stays the user's; what was trained is named by its own digest.
    extra = (("run", digest_of({name: entry["sha256"] for name, entry in contents(folder).items()})),)
    return replace(settings, **changes, identity_extra=extra)


def prepare(
    settings: Settings,
    spec: ReleaseSpec,
    dataset: Dataset,
    parts: Parts,
    trainer: Trainer,
    scratch: Path,
    *,
    bare: bool = True,
) -> Prepared:
    """Train what is missing, publish every part, and write the worlds for the workers.

    Args:
        settings: the run's.
        spec: what is attacked.
        dataset, parts: the data.
        trainer: for what must be trained.
        scratch: where the worlds go.
        bare: train and publish the undefended twin too.
    """
    if spec.kind == "arrays":
        return prepare_arrays(settings, spec, dataset, parts, trainer, scratch)
    source, bare_source, families, models = _sources(settings, spec, dataset, parts, trainer, bare)
    defense = source.load(trainer.device)
    publisher = Publisher(
        defense=defense, classes=dataset.classes[parts.task], seed=settings.seed, device=trainer.device
    )
    world, values = _published(publisher, parts, dataset, families, trainer.reporter)
    observed = publisher.observe(parts.targets.images, values["targets"])
    place = placed(world, models, scratch, trainer.device, source)
    undefended, bare_digest = None, ""
    if bare_source is not None:
        other = replace(publisher, defense=bare_source.load(trainer.device))
        bare_world, _ = _published(other, parts, dataset, families, trainer.reporter)
        bare_digest = world_digest(bare_world, models)
        undefended = placed(bare_world, models, scratch, trainer.device, bare_source)
    target = _target_rows(publisher, defense, world, parts, values["defender"])
    return Prepared(
        dataset=dataset,
        parts=parts,
        world=world,
        models=models,
        place=place,
        undefended=undefended,
        digests=Digests(
            world=world_digest(world, models),
            clean=world_digest(world, models, releases=False),
            undefended=bare_digest,
        ),
        publisher=publisher,
        target=target,
        observed=observed,
        families=families,
        kind=spec.kind,
        name=spec.name,
        settings=defense.settings(),
        targetless="" if target.release is not None else "the release names no target model",
        overlap=overlap_of(parts),
    )


def _sources(
    settings: Settings, spec: ReleaseSpec, dataset: Dataset, parts: Parts, trainer: Trainer, bare: bool
) -> tuple[DefenseSource, DefenseSource | None, Families, dict[str, Path]]:
    """Where the fitted defense and its undefended twin are, and the unintended models."""
    side = dataset.shape[1]
    if spec.kind == "folder":
        folder = Path(spec.source)
        run = load_run(folder)
        families = replace(Families.of(settings, side), unintended=run["models"], twin=run["twin"], width=run["width"])
        models = {name: folder / f"model-{name}.safetensors" for name in families.unintended}
        source = DefenseSource(target=folder / "target.safetensors", folder=folder)
        return source, replace(source, file="undefended") if run["undefended"] else None, families, models
    if spec.kind == "registered":
        families = Families.of(settings, side)
        target, models = trainer.models(dataset, parts, families)
        options = defense_options(settings, spec.source)
        fitted, twin = trainer.defenses(spec.source, options, dataset, parts, target, undefended=bare)
        source = DefenseSource(target=target, folder=fitted)
        return source, None if twin is None else replace(source, folder=twin), families, models
    # A plain module brings its own target, if any.
    # The factory's name and not its file: neither the place nor an edit gives the same defense other numbers.
    seed = derive_seed("defense", spec.attribute, settings.seed)
    own = isinstance(made(spec, dataset.classes[parts.task], seed), ModuleDefense)
    families = Families.of(settings, side, twin=not own)
    target, models = trainer.models(dataset, parts, families)
    data, validation = trainer.defender_arrays(parts)
    source = DefenseSource(
        target=target,
        spec=spec,
        code=code_of_factory(spec),
        classes=dataset.classes[parts.task],
        data=data,
        validation=validation,
        seed=seed,
    )
    return source, None, families, models


def placed(
    world: EvaluationData, models: Mapping[str, Path], scratch: Path, device: str, source: DefenseSource | None
) -> EvaluationHandle:
    """Write a world for the workers, who keep what they have read by folder: its name says what is inside."""
    check_world(world)
    folder = scratch / f"world-{world_digest(world, models)[:24]}"
    if not folder.exists():
        save_world(world, models, folder)
    return EvaluationHandle(folder=folder, device=device, source=source)


def defense_options(settings: Settings, name: str) -> dict[str, Any]:
    """The options of a registered defense from `--set NAME.option=value`, checked.

    Raises:
        UserError: it has no such option, or not such a value.
    """
    options = settings.options(name)
    configured(DEFENSES.get(name), options, name)
    return options


def _published(
    publisher: Publisher, parts: Parts, dataset: Dataset, families: Families | None, reporter: Reporter
) -> tuple[EvaluationData, dict[str, Tensor]]:
    """The world of releases, and the releases by part (the defender's validation part too)."""
    images_of = {
        "train": parts.pool_train,
        "validation": parts.pool_validation,
        "targets": parts.targets,
        "defender": parts.defender_validation,
    }
    values = {}
    with reporter.stage("publishing", len(images_of)) as stage:
        for name, images in images_of.items():
            values[name] = publisher.publish(images.images, name)
            stage.advance(name)

    def part(name: str, images: ImageSet) -> Part:
        return Part(
            images=images.images,
            release=values[name],
            labels=images.labels,
            prediction=publisher.predicted(values[name]),
        )

    if len({(*v.shape[1:], v.dtype) for v in values.values()}) > 1:
        raise UserError("expected releases of one shape and type, got different ones", "publish equal shapes")

    world = EvaluationData(
        train=part("train", parts.pool_train),
        validation=part("validation", parts.pool_validation),
        targets=part("targets", parts.targets),
        classes=dataset.classes,
        twin=families.twin if families is not None else None,
    )
    return world, values


def _target_rows(
    publisher: Publisher, defense: Defense, world: EvaluationData, parts: Parts, defender_release: Tensor
) -> TargetRows:
    """How the intended use does on the release, on the images, and on the release made a picture."""
    predicted, truth = world.targets.prediction, world.targets.labels[parts.task]
    if predicted is None or world.targets.images is None:
        return TargetRows()
    clean = None
    images = world.targets.images
    reads_images = world.targets.release.shape == images.shape or not isinstance(defense, ModuleDefense)
    if defense.target is not None and reads_images:
        clean = (predict_logits(defense.target, world.targets.images).argmax(1) == truth).numpy().astype(np.uint8)
    picture = None
    if world.targets.release.shape == images.shape and world.targets.release.is_floating_point():
        # The form in which the intended use suffers less, on the defender's own validation part.
        release = world.train.release
        defender_truth = parts.defender_validation.labels[parts.task]
        scores = {}
        for form in ("clip", "rescale"):
            guess = publisher.predicted(picture_of(defender_release, form, release))
            scores[form] = float((guess == defender_truth).float().mean()) if guess is not None else 0.0
        form = max(scores, key=lambda name: scores[name])
        guess = publisher.predicted(picture_of(world.targets.release, form, release))
        picture = None if guess is None else (guess == truth).numpy().astype(np.uint8)
    return TargetRows(release=(predicted == truth).numpy().astype(np.uint8), clean=clean, picture=picture)
