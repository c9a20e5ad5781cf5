"""`vfc train`: a target model, a defense in front of it, and the unintended models, in one run folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from adversaries.evidence import Value
from adversaries.statistics import estimates
from protocols.commands.output import printing
from protocols.engine.executors.processes import warm_up
from protocols.engine.folder import RUN_FILE
from protocols.engine.outside.families import Families
from protocols.engine.prepare import data_of, defense_options
from protocols.engine.publishing.publisher import Publisher, picture_of
from protocols.engine.publishing.world import TOGETHER, shared_images
from protocols.engine.settings import Settings
from protocols.engine.workspace import start_torch, workspace
from protocols.evaluation.overrides import check_overrides
from vfc.artifact import load_defense, load_model, save_defense, save_json, save_model
from vfc.checkpoints import FEWEST, FOLDER, copy_checkpoints
from vfc.core.suitability import collapse
from vfc.data import Dataset
from vfc.defense import DEFENSES, Defense
from vfc.errors import UserError, unknown
from vfc.factory import ReleaseSpec
from vfc.splits import Parts
from vfc.training import predict_logits


def run_train(settings: Settings, *, checkpoints: int = 0) -> int:
    """Train, save and say how it went.

    Args:
        settings: the run's.
        checkpoints: how many states of the target, and of VFC's network, are kept on the way; 0 for none.

    Raises:
        UserError: anything that the user must change; finished parts are kept.
    """
    if settings.release not in DEFENSES.cards:
        raise unknown("defense", settings.release, DEFENSES.cards)
    if 0 < checkpoints < FEWEST:
        raise UserError(f"expected {FEWEST} or more checkpoints, or 0 for none, got {checkpoints}", "keep 12, say")
    if settings.executor == "processes":
        warm_up()
    device = start_torch(settings)
    check_overrides(settings, ())
    options = defense_options(settings, settings.release)
    spec = ReleaseSpec(kind="registered", text=settings.release, source=settings.release)
    settings, dataset, parts = data_of(settings, spec)
    families = Families.of(settings, dataset)
    out = settings.out_folder("train")
    identity = {"verb": "train", **settings.identity(), **({"checkpoints": checkpoints} if checkpoints else {})}
    with workspace(settings, out, identity, device) as place:
        trainer = place.trainer(checkpoints=checkpoints)
        target_path, models = trainer.models(dataset, parts, families)
        fitted, undefended = trainer.defenses(settings.release, options, dataset, parts, target_path)
        target = load_model(target_path)
        defense = load_defense(fitted, target)
        save_model(target, out / "target.safetensors", split_seed=parts.seed)
        for name, path in models.items():
            save_model(load_model(path), out / f"model-{name}.safetensors", split_seed=parts.seed)
        save_defense(defense, settings.release, out)
        if undefended is not None:
            save_defense(load_defense(undefended, target), settings.release, out, file="undefended")
        for folder in (target_path.parent / FOLDER, fitted / FOLDER):
            if checkpoints and folder.exists():
                copy_checkpoints(folder, out / FOLDER)
        save_json(_run(settings, dataset, families, undefended is not None), out / RUN_FILE)
    with printing():
        if settings.verbosity >= 0:
            Console().print(_table(settings, dataset, parts, families, models, defense, device))
        else:
            sys.stdout.write(f"{out}\n")
    place.reporter.note(f"next: vfc attack --release {out} --protocol adaptive-probe")
    if checkpoints:
        place.reporter.note(f"or: vfc leakage --over-training --release {out}")
    return 0


def _run(settings: Settings, dataset: Dataset, families: Families, undefended: bool) -> dict[str, object]:
    """What `vfc attack` must know of the folder."""
    return {
        "dataset": settings.dataset,
        "dataset_digest": dataset.digest,
        "task": dataset.task,
        "labels": list(settings.labels),
        "split": settings.split,
        "split_seed": settings.split_seed,
        "target": families.target,
        "unintended": [name for name in families.unintended if name != families.twin],
        "width": families.width,
        "models": dict(families.unintended),
        "twin": families.twin,
        "outside": sorted(families.outside),
        "undefended": undefended,
        "defense": settings.release,
        "seed": settings.seed,
    }


def _table(
    settings: Settings,
    dataset: Dataset,
    parts: Parts,
    families: Families,
    models: dict[str, Path],
    defense: Defense,
    device: str,
) -> Table:
    """Accuracy of every model on the targets: their images, their releases, and those made a picture."""
    publisher = Publisher(defense=defense, classes=dataset.classes[parts.task], seed=settings.seed, device=device)
    images, truth = parts.targets.images, parts.targets.labels[parts.task]
    values = publisher.together(shared_images(parts), TOGETHER).values
    release = values["targets"]
    shaped = release.shape == images.shape and release.is_floating_point()
    picture = picture_of(release, "clip", values["train"]) if shaped else None

    def rate(guess: torch.Tensor | None) -> str:
        return "n/a" if guess is None else show(estimates.rate(int((guess == truth).sum()), len(truth)))

    table = Table(
        title=f"{settings.release} on {dataset.name}: accuracy on {len(truth)} targets (90 % interval)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for column in ("model", "images", "release", "as a picture"):
        table.add_column(column)
    predicted = publisher.predicted(release)
    clean = None if defense.target is None else predict_logits(defense.target, images).argmax(1)
    clipped = None if picture is None else publisher.predicted(picture)
    table.add_row(f"target {families.target}", rate(clean), rate(predicted), rate(clipped))
    for name, path in models.items():
        model = load_model(path)
        guesses = [
            predict_logits(model, x).argmax(1)
            for x in (images, release, picture)
            if x is not None and (x is images or shaped)
        ]
        cells = [rate(guess) for guess in guesses] + ["n/a"] * (3 - len(guesses))
        table.add_row(f"near twin {name}" if name == families.twin else f"unintended {name}", *cells)
    table.caption = None if predicted is None else collapse(predicted, truth)
    floor = int((truth == torch.bincount(parts.pool_train.labels[parts.task]).argmax()).sum())
    table.add_row("floor (majority class)", *[show(estimates.rate(floor, len(truth)))] * 3)
    return table


def show(value: Value) -> str:
    """A rate with its interval."""
    if value.value is None or value.low is None or value.high is None:
        return "n/a"
    return f"{value.value:.3f} {value.low:.3f}-{value.high:.3f}"
