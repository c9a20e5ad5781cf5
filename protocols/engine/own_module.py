"""A torch module of the user's own, and what is measured of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from protocols.engine.handles import made
from protocols.engine.identity import content_of
from vfc.errors import UserError
from vfc.factory import resolve
from vfc.wrapper import ModuleDefense


@dataclass(frozen=True, kw_only=True)
class LayerOptions:
    """Which layers of a module are measured, and how.

    Args:
        model: a factory, `mypkg:build` or `path/to/file.py:build`, that returns a torch module; None only where
            a training of our own is followed.
        layers: patterns of layer names; empty: the outermost layers.
        images: held-out images for degrees of freedom and dimension.
        samples: images whose Jacobians are computed.
        method: auto, exact or sketch.
        memory: gibibytes.
        straight_through: count rounding steps as the identity.
    """

    model: str | None = None
    layers: tuple[str, ...] = ()
    images: int = 256
    samples: int = 8
    method: str = "auto"
    memory: float = 1.0
    straight_through: bool = False


def content_of_model(model: str | None) -> str | None:
    """A module as a run's identity names it: by its code, wherever the file lies; None without one."""
    return None if model is None else content_of(resolve(model))


def build_module(model: str, classes: int, seed: int) -> nn.Module:
    """The module that a factory returns; its first weights depend on the seed alone.

    Raises:
        UserError: it names no factory, or returns something else.
    """
    spec = resolve(model)
    if spec.kind != "factory":
        raise UserError(
            f"expected --model as mypkg:build or path/to/file.py:build, got {model!r}",
            "a release is measured by vfc attack --protocol leakage",
        )
    defense = made(spec, classes, seed)
    if not isinstance(defense, ModuleDefense):
        raise UserError(
            f"expected {model} to return a torch.nn.Module, got the defense {type(defense).__name__}",
            "a release is measured by vfc attack --protocol leakage",
        )
    return defense.module


def spread(images: Tensor, most: int) -> Tensor:
    """At most so many images, evenly over all."""
    return images[torch.linspace(0, len(images) - 1, min(most, len(images))).round().long()]
