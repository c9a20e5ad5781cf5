"""A first look at a user's own release, before anything is trained: what it reads, its shape, what can attack it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from protocols.engine.handles import made
from protocols.engine.publishing.hosts import can_host
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.settings import Settings
from vfc.data import Dataset
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.factory import ReleaseSpec
from vfc.seeding import derive_seed
from vfc.wrapper import ModuleDefense

_FEW = 2


MADE = ("factory", "object")
"""Kinds of releases whose defense is made by code of the user's."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of a release before anything is trained.

    Args:
        learns: whether the defense is fitted on anything.
        shape: of one release; None if only the fitted defense publishes.
        planar: whether it is shaped like the images and holds floats; None if the shape is not known.
    """

    learns: bool
    shape: tuple[int, ...] | None = None
    planar: bool | None = None


def learns(defense: Defense) -> bool:
    """Whether a defense is fitted on anything."""
    if isinstance(defense, ModuleDefense):
        return callable(getattr(defense.module, "fit", None))
    return type(defense).fit is not Defense.fit


def defense_seed(settings: Settings, spec: ReleaseSpec) -> int:
    """The seed of a factory and of its fit."""
    # The factory's name and not its file: neither the place nor an edit gives the same defense other numbers.
    return derive_seed("defense", spec.attribute, settings.seed)


def own_defense(settings: Settings, spec: ReleaseSpec, dataset: Dataset) -> Defense:
    """What a factory returns for a run, not fitted."""
    return made(spec, dataset.classes[dataset.task], defense_seed(settings, spec))


def check_data_named(spec: ReleaseSpec, defense: Defense, dataset: Dataset) -> None:
    """Refuse to guess the data of a module that reads images of more channels than digits has.

    A gray image passes many a module for color by being broadcast over its channels, and nobody would notice.

    Args:
        spec: the release.
        defense: what its code has made.
        dataset: what was loaded in place of data that nobody named.

    Raises:
        UserError: the module's first convolution reads other channels than these have.
    """
    channels = _channels(defense.module) if isinstance(defense, ModuleDefense) else None
    if channels not in (None, dataset.shape[0]):
        raise UserError(
            f"expected --dataset for {spec.text}, got none: it reads images of {channels} channels, and digits, the "
            f"default, have {dataset.shape[0]}",
            "name the data, such as --dataset cifar10 or npz:PATH; or --dataset digits, if they are meant",
        )


def look(settings: Settings, spec: ReleaseSpec, dataset: Dataset, device: str) -> Look | None:
    """Publish two images by the defense of a factory or of a program; None for other releases.

    Raises:
        UserError: it fits nothing and cannot publish such images.
    """
    if spec.kind not in MADE:
        return None
    defense = own_defense(settings, spec, dataset)
    fitted = learns(defense)
    if not isinstance(defense, ModuleDefense):
        return Look(learns=fitted)
    publisher = Publisher(
        defense=defense,
        classes=dataset.classes[dataset.task],
        seed=settings.seed,
        device=device,
        isolated=can_host(device) and not settings.no_isolation,
        limit=settings.call_limit,
    )
    try:
        values = publisher.publish(dataset.train.images[:_FEW], "look")
    except UserError:
        if fitted:
            return Look(learns=True)  # what is not fitted yet need not publish
        raise
    planar = tuple(values.shape[1:]) == dataset.shape and values.is_floating_point()
    return Look(learns=fitted, shape=tuple(values.shape[1:]), planar=planar)


def applying(found: Look, protocols: Sequence[str]) -> list[str]:
    """What does not apply to a release among the protocols that were asked for, and what to ask instead, in sentences.

    Args:
        found: of the release.
        protocols: their names.

    Returns:
        A sentence for each that cannot say anything.

    Raises:
        UserError: none of them can.
    """
    reasons = {}
    if found.planar is False:
        shape = " x ".join(map(str, found.shape or ()))
        reasons["transfer"] = (
            f"transfer needs releases shaped like the images, got {shape}",
            "ask for adaptive-probe, which trains readers of any shape",
        )
    if not found.learns:
        reasons["membership"] = (
            "membership needs a defense that is fitted on images, got one that fits nothing",
            "ask for attribute, inversion or linkage, which ask what a release tells of its own image",
        )
    hit = [name for name in protocols if name in reasons]
    if hit and len(hit) == len(protocols):
        raise UserError(*reasons[hit[0]])
    return [f"{reasons[name][0]}: {reasons[name][1]}" for name in hit]


def _channels(module: nn.Module) -> int | None:
    """Channels that a module's first convolution reads; None without a convolution."""
    first = next((each for each in module.modules() if isinstance(each, nn.Conv2d)), None)
    return None if first is None else first.in_channels
