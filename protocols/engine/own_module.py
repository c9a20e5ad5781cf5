"""A torch module of the user's own, and what is measured of its layers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vfc.errors import UserError
from vfc.factory import call_factory, resolve
from vfc.seeding import derive_seed, seeded
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
    generator = torch.Generator().manual_seed(derive_seed("factory", seed))
    made = seeded(lambda: call_factory(spec, classes), generator)
    if not isinstance(made, ModuleDefense):
        raise UserError(
            f"expected {model} to return a torch.nn.Module, got the defense {type(made).__name__}",
            "a release is measured by vfc attack --protocol leakage",
        )
    return made.module


def spread(images: Tensor, most: int) -> Tensor:
    """At most so many images, evenly over all."""
    return images[torch.linspace(0, len(images) - 1, min(most, len(images))).round().long()]
