"""Shadow trainings: the attacker's own, by the recipe of the one in question, with states kept on the way.

Axes: s shadows, u images of their universe.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from adversaries.goals.membership_draws import Universe
from protocols.engine.shadows import Recipe, train_shadows
from protocols.engine.trainer import Trainer
from protocols.over_training.source import Source, of_encoder, of_target
from vfc.checkpoints import FOLDER, Kept, kept
from vfc.errors import NotApplicableError
from vfc.splits import Parts
from vfc.training import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Training:
    """How shadows are trained.

    Args:
        target: the kept states of the target, or, for the encoder, nothing but how the target was trained.
        encoder: the kept states of VFC's network; None when the target is in question.
        trainer: trains and keeps models.
    """

    target: Kept
    encoder: Kept | None
    trainer: Trainer

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
    names = parts.pool_train.attributes(parts.task)
    attributes = {name: torch.cat([each.labels[name] for each in owned]) for name in names}
    size = min(len(parts.defender_train), 2 * len(images) // 3)
    return Universe.drawn(images, labels, shadows, seed, size=size, attributes=attributes)


def trained_shadows(how: Training, universe: Universe, parts: Parts, classes: int) -> list[Source]:
    """Train what is missing; every shadow has as many states as the training in question.

    Raises:
        NotApplicableError: a shadow's training is too short for that.
    """
    architecture, encoder = how.target.about["architecture"], how.encoder
    recipe = Recipe(
        name=architecture["name"],
        width=architecture["width"],
        classes=classes,
        # The same steps, so that the same states are kept, though of other images.
        training=TrainSettings(**how.target.about["training"]),
        defense="" if encoder is None else encoder.about["defense"],
        settings={} if encoder is None else encoder.about["training"],
        checkpoints=len(how.kept.steps),
    )
    models, defenses = train_shadows(recipe, universe, parts, how.trainer)
    if encoder is None:
        found = [of_target(kept(job.path.parent / FOLDER, "target"), "shadow") for job in models]
    else:
        found = [of_encoder(kept(job.path / FOLDER, "encoder"), job.target, "shadow") for job in defenses]
    if any(len(each.steps) != len(how.kept.steps) for each in found):
        raise NotApplicableError(f"a shadow trains for fewer steps than the {len(how.kept.steps)} states need")
    return found
