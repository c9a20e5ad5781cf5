"""CIFAR-10 and CIFAR-100, read by torchvision, which unpickles a file only after checking its md5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from vfc.data import DATASETS, DataOptions, Dataset, ImageSet, image_set, no_argument
from vfc.datasets.torchvision_files import said_plainly

LabelMaker = Callable[[npt.NDArray[np.int64]], Mapping[str, npt.NDArray[np.generic]]]

LIVING = (2, 3, 4, 5, 6, 7)
"""CIFAR-10's animals: bird, cat, deer, dog, frog, horse."""

COARSE = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
    *(6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
    *(5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
    *(10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
    *(16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)
"""The coarse class of every fine class of CIFAR-100; torchvision's loader gives only the fine one."""

COARSE_NAMES = (
    *("aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables"),
    *("household_electrical_devices", "household_furniture", "insects", "large_carnivores"),
    *("large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores"),
    *("medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees"),
    *("vehicles_1", "vehicles_2"),
)


@DATASETS.register("cifar10")
def cifar10(argument: str, options: DataOptions) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 images of 3x32x32; labels `label` (10) and `living` (animals).

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    no_argument("cifar10", argument)
    from torchvision.datasets import CIFAR10

    names, (train, test) = _read(CIFAR10, "cifar10", options, lambda y: {"label": y, "living": np.isin(y, LIVING)})
    return Dataset(
        name="cifar10",
        task="label",
        train=train,
        test=test,
        classes={"label": 10, "living": 2},
        class_names={"label": names, "living": ("thing", "animal")},
    )


@DATASETS.register("cifar100")
def cifar100(argument: str, options: DataOptions) -> Dataset:
    """CIFAR-100: 50,000 + 10,000 images of 3x32x32; labels `fine` (100) and `coarse` (20).

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    no_argument("cifar100", argument)
    from torchvision.datasets import CIFAR100

    table = np.array(COARSE)
    names, (train, test) = _read(CIFAR100, "cifar100", options, lambda y: {"fine": y, "coarse": table[y]})
    return Dataset(
        name="cifar100",
        task="fine",
        train=train,
        test=test,
        classes={"fine": 100, "coarse": 20},
        class_names={"fine": names, "coarse": COARSE_NAMES},
    )


def _read(loader: Any, name: str, options: DataOptions, label: LabelMaker) -> tuple[tuple[str, ...], list[ImageSet]]:
    parts = []
    with said_plainly(name, options):
        for train in (True, False):
            data = loader(options.folder, train=train, download=options.download)
            parts.append(image_set(data.data, label(np.asarray(data.targets)), name))
    return tuple(data.classes), parts
