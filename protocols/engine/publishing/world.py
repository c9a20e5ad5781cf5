"""The world as a defense publishes it, and how its own target does there."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from protocols.engine.outside.families import Families
from protocols.engine.prepared import TargetRows
from protocols.engine.progress import Reporter
from protocols.engine.publishing.publisher import Publisher, picture_of
from vfc.data import Dataset, ImageSet
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.splits import Parts
from vfc.training import predict_logits
from vfc.wrapper import ModuleDefense

TOGETHER = "parts"
"""Name of the stream in which the parts of the world are published."""


def shared_images(parts: Parts) -> dict[str, Tensor]:
    """Images of the parts that are published together, so that no release tells the attacker's from the targets."""
    return {
        "train": parts.pool_train.images,
        "validation": parts.pool_validation.images,
        "targets": parts.targets.images,
    }


def published_world(
    publisher: Publisher, parts: Parts, dataset: Dataset, families: Families | None, reporter: Reporter
) -> tuple[EvaluationData, dict[str, Tensor]]:
    """The world of releases, and the releases by part (the defender's validation part too)."""
    images_of = shared_images(parts)
    with reporter.stage("publishing", 2) as stage:
        published = publisher.together(images_of, TOGETHER)
        stage.advance(", ".join(images_of))
        values = {**published.values, "defender": publisher.publish(parts.defender_validation.images, "defender")}
        stage.advance("defender")

    def part(name: str, images: ImageSet) -> Part:
        return Part(
            images=images.images,
            release=values[name],
            labels=images.labels,
            prediction=publisher.predicted(values[name]),
            call=published.call[name],
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


def target_rows(
    publisher: Publisher, defense: Defense, world: EvaluationData, parts: Parts, defender_release: Tensor
) -> TargetRows:
    """How the intended use does on the release, on the images, and on the release made a picture."""
    predicted, truth = world.targets.prediction, world.targets.labels[parts.task]
    if predicted is None or world.targets.images is None:
        return TargetRows()
    clean = None
    images = world.targets.images
    reads_images = world.targets.release.shape == images.shape or not isinstance(defense, ModuleDefense)
    own = publisher.clean(images)
    if own is None and defense.target is not None and reads_images:
        own = predict_logits(defense.target, images).argmax(1)
    if own is not None:
        clean = (own == truth).numpy().astype(np.uint8)
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
