"""Pascal VOC 2007 and 2012, read by torchvision: one yes-or-no label per class of objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vfc.data import DATASETS, DataOptions, Dataset, ImageSet, image_set
from vfc.datasets.pictures import expect_memory, readable, scaled, side_of
from vfc.datasets.torchvision_files import said_plainly
from vfc.errors import UserError, unknown

CLASSES = (
    *("person", "bird", "cat", "cow", "dog", "horse", "sheep", "aeroplane", "bicycle", "boat"),
    *("bus", "car", "motorbike", "train", "bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"),
)
"""In the order of the development kit, which begins with the most frequent one."""

SIDE = 64
ABSENT, DIFFICULT, PRESENT = range(3)


@DATASETS.register("voc2007")
def voc2007(argument: str, options: DataOptions) -> Dataset:
    """Pascal VOC 2007: 5,011 (trainval) + 4,952 (test) photographs, scaled to 3x64x64; a label per class of objects.

    Labels: `person` and 19 others, each whether an object of the class is in the image; the task is one of them.
    `voc2007:SIDE` scales to another side; the proportions of a photograph are not kept. Objects that are annotated as
    difficult do not count. An image all of whose objects of the task's class are difficult is left out of both
    parts, as VOC's evaluation of a class leaves it out; for the other labels it counts as without. Persons are on 40 %
    of the images, most other objects on fewer than a tenth: accuracy has a high floor.

    Source: Everingham, Van Gool, Williams, Winn and Zisserman, The Pascal Visual Object Classes (VOC) Challenge,
    International Journal of Computer Vision, 2010.
    """
    return _voc("voc2007", argument, options, "2007", ("trainval", "test"))


@DATASETS.register("voc2012")
def voc2012(argument: str, options: DataOptions) -> Dataset:
    """Pascal VOC 2012: 5,717 (train) + 5,823 (val) photographs, scaled to 3x64x64; a label per class of objects.

    The same labels and options as `voc2007`. Annotations of the test part are not public, so the targets are the
    validation part.

    Source: Everingham et al., The Pascal Visual Object Classes Challenge: A Retrospective, International Journal of
    Computer Vision, 2015.
    """
    return _voc("voc2012", argument, options, "2012", ("train", "val"))


def _voc(name: str, argument: str, options: DataOptions, year: str, parts: tuple[str, str]) -> Dataset:
    side = side_of(name, argument, SIDE)
    with said_plainly(name, options):
        loaders = [_loader(year, part, options) for part in parts]
    expect_memory(name, sum(map(len, loaders)), side)
    task = options.task if options.task in CLASSES else CLASSES[0]
    train, test = (_read(loader, side, CLASSES.index(task), name) for loader in loaders)
    return Dataset(
        name=name if side == SIDE else f"{name}:{side}",
        task=CLASSES[0],
        train=train,
        test=test,
        classes=dict.fromkeys(CLASSES, 2),
        class_names={label: (f"no {label}", label) for label in CLASSES},
    )


def _loader(year: str, part: str, options: DataOptions) -> Any:
    """torchvision's loader of one part; it downloads, where it may, only what is not there."""
    from torchvision.datasets import VOCDetection

    try:
        return VOCDetection(options.folder, year=year, image_set=part)
    except (RuntimeError, OSError):
        if not options.download:
            raise
        return VOCDetection(options.folder, year=year, image_set=part, download=True)


def _read(loader: Any, side: int, task: int, name: str) -> ImageSet:
    """All images but those that VOC's evaluation of the task's class leaves out."""
    if not len(loader):
        raise UserError(f"expected images in {loader.image_set}.txt of {name}, got none", "unpack it again")
    pixels = np.empty((len(loader), side, side, 3), np.uint8)
    found = np.empty((len(loader), len(CLASSES)), np.int64)
    for place, file in enumerate(map(Path, loader.images)):
        with readable(Path(file.name), f"unpack {name} again, the image and its annotation"):
            image, annotation = loader[place]
            pixels[place] = scaled(image, side)
            found[place] = classes_of(annotation, file.name)
    kept = found[:, task] != DIFFICULT
    labels = {label: found[kept, column] == PRESENT for column, label in enumerate(CLASSES)}
    return image_set(pixels[kept], labels, name)


def classes_of(annotation: Any, name: str) -> npt.NDArray[np.int64]:
    """What an annotation says of every class.

    Args:
        annotation: as torchvision parses it.
        name: what errors call it.

    Returns:
        Shape (20,): `PRESENT` where an object is not difficult, `DIFFICULT` where all are, else `ABSENT`.

    Raises:
        UserError: it is none, or names another class.
    """
    inside = annotation.get("annotation") if isinstance(annotation, dict) else None
    if not isinstance(inside, dict):
        raise UserError(f"expected an annotation of VOC for {name}, got another XML file", "unpack it again")
    found = np.full(len(CLASSES), ABSENT)
    for each in inside.get("object", []):
        kind = each.get("name") if isinstance(each, dict) else None
        if kind not in CLASSES:
            raise unknown(f"class of objects in {name}", str(kind), CLASSES)
        place = CLASSES.index(kind)
        found[place] = max(found[place], DIFFICULT if each.get("difficult") == "1" else PRESENT)
    return found
