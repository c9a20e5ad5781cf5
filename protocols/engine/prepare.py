"""From settings to everything that an attack needs: data, split, trained parts, releases, and the world on disk."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from adversaries.evaluation_data import EvaluationData, check_world, mapped_world, save_world
from protocols.engine.executors.choose import workers_of
from protocols.engine.folder import RUN_FILE, load_run
from protocols.engine.handles import DefenseSource, EvaluationHandle
from protocols.engine.identity import code_of_factory, content_of
from protocols.engine.outside.families import Families
from protocols.engine.outside.models import check_code, contents_of
from protocols.engine.outside.release import (
    MADE,
    applying,
    check_data_named,
    defense_seed,
    learns,
    look,
    own_defense,
)
from protocols.engine.prepared import Digests, Prepared, overlap_of, world_digest
from protocols.engine.publishing.hosts import can_host
from protocols.engine.publishing.observation import Observation
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.publishing.world import published_world, shared_images, target_rows
from protocols.engine.saved import prepare_arrays
from protocols.engine.settings import Settings, digest_of
from protocols.engine.trainer import Trainer
from protocols.engine.training_jobs import fit_seconds
from vfc.artifact import contents
from vfc.config import configured
from vfc.data import Dataset, load_dataset
from vfc.datasets.saved_arrays import arrays_dataset
from vfc.defense import DEFENSES, Defense
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.splits import Parts, split
from vfc.wrapper import ModuleDefense


def data_of(settings: Settings, spec: ReleaseSpec) -> tuple[Settings, Dataset, Parts]:
    """The data of a run; a run folder brings its own data settings along.

    Raises:
        UserError: data that cannot be used, or options that contradict the run folder.
    """
    settings = replace(settings, dataset=absolute(settings.dataset))
    if spec.kind == "folder":
        settings = with_run(settings, Path(spec.source))
    salt = settings.seed if settings.split_seed is None else settings.split_seed
    # A default and the same value given by name are one run.
    settings = replace(settings, split_seed=salt)
    if spec.kind == "arrays":
        default = Settings()
        for name in ("dataset", "task", "attributes", "labels", "split"):
            if getattr(settings, name) != getattr(default, name):
                raise UserError(f"expected no --{name} beside saved arrays, which bring their own", "leave it out")
        dataset = arrays_dataset(Path(spec.source))
        return named_by_content(settings, spec, dataset), dataset, split(dataset, paper=True, seed=salt)
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
    first = own_defense(settings, spec, dataset) if spec.kind in MADE else None
    if settings.dataset is None and first is not None:
        check_data_named(spec, first, dataset)
    settings = replace(settings, dataset=settings.dataset or "digits", task=dataset.task)
    if isinstance(first, ModuleDefense) and not learns(first):
        # A defense that needs no data leaves the whole training part to the attacker.
        settings = replace(settings, split="paper")
    settings = named_by_content(settings, spec, dataset)
    return settings, dataset, split(dataset, paper=settings.split == "paper", seed=salt)


def named_by_content(settings: Settings, spec: ReleaseSpec, dataset: Dataset) -> Settings:
    """The settings with the content of what was given as a file: where it lies is no part of a run's identity."""
    given = dict(settings.identity_extra)
    if spec.text and spec.kind != "registered":
        given["release"] = content_of(spec)
    if spec.kind != "folder":  # the digest of a run folder speaks of the copies that it holds
        for name, texts in (("target", (settings.target,)), ("unintended", settings.unintended)):
            if known := contents_of(texts, dataset):
                given[name] = known[0] if name == "target" else known
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
    if "split_seed" not in run:
        raise UserError(
            f"expected split_seed in {folder / RUN_FILE}, got none: it is of an older version", "train again"
        )
    for name in ("dataset", "task", "labels", "split", "split_seed", "target", "unintended", "width"):
        theirs = tuple(run[name]) if isinstance(run[name], list) else run[name]
        ours = getattr(settings, name)
        if ours not in (getattr(default, name), theirs):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"expected {option} {theirs} as in {folder}, got {ours}", "leave it out, or train again")
        changes[name] = theirs
    for name, entry in contents(folder).items():
        check_code(entry.get("arch"), str(folder / name))
        if entry.get("split_seed", run["split_seed"]) != run["split_seed"]:
            raise UserError(
                f"expected {name} of split seed {run['split_seed']} in {folder}, got one of {entry['split_seed']}",
                "restore the file, or train again",
            )
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
    _say_what_applies(settings, spec, dataset, trainer)
    source, bare_source, families, models = _sources(settings, spec, dataset, parts, trainer, bare)
    defense = _told(source.load(trainer.device), parts)
    publisher = Publisher(
        defense=defense,
        classes=dataset.classes[parts.task],
        seed=settings.seed,
        device=trainer.device,
        isolated=can_host(trainer.device) and not settings.no_isolation,
        limit=settings.call_limit,
        at_once=workers_of(settings, trainer.device),
    )
    started = time.monotonic()
    world, values = published_world(publisher, parts, dataset, families, trainer.reporter)
    spent = _spent(source, time.monotonic() - started)
    watched = Observation(
        publisher=publisher,
        images_of=shared_images(parts),
        published=values,
        labels=parts.pool_train.labels[parts.task],
    )
    observed = watched.observed()
    place = placed(world, models, scratch, trainer.device, source)
    world = mapped_world(place.folder)
    undefended, bare_digest = None, ""
    if bare_source is not None:
        other = replace(publisher, defense=bare_source.load(trainer.device))
        bare_world, _ = published_world(other, parts, dataset, families, trainer.reporter)
        bare_digest = world_digest(bare_world, models)
        undefended = placed(bare_world, models, scratch, trainer.device, bare_source)
    target = target_rows(publisher, defense, world, parts, values["defender"])
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
        told=defense.oracle,
        spent=spent,
    )


def _say_what_applies(settings: Settings, spec: ReleaseSpec, dataset: Dataset, trainer: Trainer) -> None:
    """Look at a release before anything is trained, and say what has no meaning for it."""
    found = look(settings, spec, dataset, trainer.device)
    for line in applying(found, settings.protocols) if found is not None else ():
        trainer.reporter.note(line)


def _told(defense: Defense, parts: Parts) -> Defense:
    """The defense, with the true labels of all that it will publish if its settings ask for them."""
    if defense.oracle:
        for part in (parts.pool_train, parts.pool_validation, parts.targets):
            defense = defense.granted(part.images, part.labels[parts.task])
    return defense


def _spent(source: DefenseSource, publishing: float) -> dict[str, float | None]:
    """Seconds of the defense itself; nobody wrote down how long a run folder or a factory took to be fitted."""
    return {"fit_s": None if source.folder is None else fit_seconds(source.folder), "publish_s": publishing}


def _sources(
    settings: Settings, spec: ReleaseSpec, dataset: Dataset, parts: Parts, trainer: Trainer, bare: bool
) -> tuple[DefenseSource, DefenseSource | None, Families, dict[str, Path]]:
    """Where the fitted defense and its undefended twin are, and the unintended models."""
    if spec.kind == "folder":
        folder = Path(spec.source)
        run = load_run(folder)
        families = Families.of_run(run)
        models = {name: folder / f"model-{name}.safetensors" for name in families.unintended}
        source = DefenseSource(target=folder / "target.safetensors", folder=folder)
        return source, replace(source, file="undefended") if run["undefended"] else None, families, models
    if spec.kind == "registered":
        families = Families.of(settings, dataset)
        trained, models = trainer.models(dataset, parts, families)
        options = defense_options(settings, spec.source)
        fitted, twin = trainer.defenses(spec.source, options, dataset, parts, trained, undefended=bare)
        source = DefenseSource(target=trained, folder=fitted)
        return source, None if twin is None else replace(source, folder=twin), families, models
    # A plain module brings its own target, if any.
    seed = defense_seed(settings, spec)
    own = isinstance(own_defense(settings, spec, dataset), ModuleDefense)
    families = Families.of(settings, dataset, twin=not own)
    needed: Path | None = None
    if own:
        models = trainer.unintended(dataset, parts, families)
    else:
        needed, models = trainer.models(dataset, parts, families)
    data, validation = trainer.defender_arrays(parts)
    source = DefenseSource(
        target=needed,
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
