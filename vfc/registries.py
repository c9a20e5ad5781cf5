"""The registries of the defender's side, in a file that imports no torch, so that `vfc list` starts at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vfc.registry import Registry

if TYPE_CHECKING:
    from torch import nn

    from vfc.data import DataOptions, Dataset
    from vfc.defense import Defense
    from vfc.zoo.shape import Shape

DEFENSES: Registry[type[Defense]] = Registry(
    "defense", "vfc.defenses", "DEFENSES", "vfc.defenses", facts=("sweep", "variants")
)
"""Defenses, by their names in the literature. `sweep` says which values of which options `vfc bench --sweep` grades,
`variants` with which further options `vfc bench --defenses all` grades one in rows of their own."""

DATASETS: Registry[Callable[[str, DataOptions], Dataset]] = Registry(
    "dataset", "vfc.datasets", "DATASETS", "vfc.datasets"
)
"""Loaders: a function from the text after the colon of `NAME:TEXT` and the options to a data set."""

MODELS: Registry[Callable[[Shape], tuple[nn.Module, int]]] = Registry("model", "vfc.zoo", "MODELS", "vfc.models")
"""Bodies: a function from a shape to a module (normalized images to features (n, d)) and its number of features."""
