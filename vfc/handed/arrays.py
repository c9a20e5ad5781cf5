"""Images and labels from memory as a data set, checked for what is usually wrong with them."""

# Structure: calibration does not count it.

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from vfc.data import Dataset, ImageSet, check_dataset, count_classes, into_range
from vfc.datasets.labels import check_from_zero
from vfc.errors import UserError
from vfc.handed.held import DATASETS_HELD
from vfc.wrapper import check_values

PREFIX = "arrays"

_BYTES = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}
"""The longest number that torch has, by kind of numpy's numbers."""

TASK = "label"
"""How the task label is called where nobody names it."""


def hold_images(images: object, labels: object, attributes: Mapping[str, object], test: object = None) -> str:
    """Keep images for this process, and say under which name `load_dataset` finds them.

    Args:
        images: numpy array or tensor, shape (n, c, side, side) with 1 or 3 channels; floats in [0, 1], or uint8.
        labels: classes from 0, shape (n,), or a mapping of names to such; the first one is the task.
        attributes: further labels by name, each (n,).
        test: images and labels (and attributes, if there are any) of a part of its own, on which everybody is graded;
            None for a quarter of the images.

    Returns:
        `arrays:DIGEST`.

    Raises:
        UserError: they have another form; the error says what to change.
    """
    train = image_set(images, labels, attributes)
    for name, row in train.labels.items():
        check_from_zero(f"label {name!r}", row.numpy(), f"hand over {array_of(name)}")
    held = None
    if test is not None:
        if not isinstance(test, tuple) or len(test) not in (2, 3):
            raise UserError("expected test=(images, labels) or (images, labels, attributes)", "give a tuple")
        held = image_set(test[0], test[1], test[2] if len(test) == 3 else {}, where="test images")
        if set(held.labels) != set(train.labels):
            names = " and ".join(", ".join(part.labels) for part in (train, held))
            raise UserError(f"expected the same labels for images and test, got {names}", "give both the same")
    dataset = Dataset(
        name=PREFIX, task=next(iter(train.labels)), train=train, test=held, classes=count_classes(train, held)
    )
    check_dataset(dataset)
    text = f"{PREFIX}:{dataset.digest[:12]}"
    DATASETS_HELD[text] = dataset
    return text


def image_set(
    images: object, labels: object, attributes: Mapping[str, object] | None = None, where: str = "images"
) -> ImageSet:
    """Images with all their labels.

    Raises:
        UserError: they have another form.
    """
    pixels = as_images(images, where)
    named = dict(labels) if isinstance(labels, Mapping) else {TASK: labels}
    twice = sorted(set(named) & set(attributes or {}))
    if twice:
        raise UserError(f"expected attributes of other names than the labels', got {twice[0]!r} twice", "rename one")
    named |= dict(attributes or {})
    return ImageSet(images=pixels, labels={str(n): as_classes(row, len(pixels), str(n)) for n, row in named.items()})


def as_images(values: object, where: str = "images") -> Tensor:
    """Images as float32 in [0, 1], shape (n, c, side, side).

    Raises:
        UserError: they have another form.
    """
    pixels = _tensor(values, where)
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        raise UserError(
            f"expected {where} of shape (n, channels, height, width), got {tuple(pixels.shape)}: channels last",
            f"hand over {where}.transpose(0, 3, 1, 2), of a tensor {where}.permute(0, 3, 1, 2)",
        )
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or pixels.shape[2] != pixels.shape[3] or not len(pixels):
        raise UserError(
            f"expected square {where} of shape (n, 1 or 3, side, side), got {tuple(pixels.shape)}",
            "crop or scale them, and add the axis of channels: images[:, None]",
        )
    if pixels.dtype == torch.uint8:
        return pixels.float() / 255
    if not pixels.is_floating_point():
        raise UserError(
            f"expected {where} as floats in [0, 1] or as uint8, got {pixels.dtype}",
            "convert them; to uint8, if they are in 0 to 255",
        )
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise UserError(f"expected {where} in [0, 1], got {low:g} to {high:g}", into_range(low, high, where))
    return pixels.float().contiguous()


def as_classes(values: object, rows: int, name: str = TASK) -> Tensor:
    """One class per row, as int64.

    Raises:
        UserError: they have another form.
    """
    classes = _tensor(values, f"label {name!r}", array_of(name))
    if classes.ndim == 2 and len(classes) == rows and classes.shape[1] > 1:
        raise UserError(
            f"expected class numbers of shape ({rows},) as label {name!r}, got {tuple(classes.shape)}: scores, or one "
            "column per class",
            "hand over labels.argmax(1)",
        )
    if classes.shape != (rows,):
        raise UserError(
            f"expected class numbers of shape ({rows},) as label {name!r}, got {tuple(classes.shape)}",
            "give one number per image",
        )
    if classes.is_floating_point() or classes.is_complex():
        raise UserError(
            f"expected integers from 0 as label {name!r}, got {classes.dtype}",
            "hand over labels.astype(int), if they are",
        )
    lowest = int(classes.min()) if rows else 0
    if lowest < 0:
        raise UserError(
            f"expected class numbers from 0 as label {name!r}, got {lowest}", "number the classes from 0 without gaps"
        )
    return classes.long()


def array_of(name: str) -> str:
    """What the caller's array of a label is called, most likely."""
    return "labels" if name == TASK else name


def as_release(values: object) -> Shaped[Tensor, "n ..."]:
    """Releases as a tensor on the CPU.

    Raises:
        UserError: they are no real numbers, or there are none.
    """
    found = as_tensor(values)
    if not isinstance(found, Tensor) or not found.ndim:
        raise UserError(
            f"expected releases as a numpy array or a tensor of shape (n, ...), got {type(values).__name__}",
            "of several outputs hand over the one that is published",
        )
    return check_values(found.detach().cpu(), len(found), "the release")


def as_tensor(values: Any) -> Any:
    """A numpy array of numbers as a tensor; everything else as it is."""
    if not isinstance(values, np.ndarray) or values.dtype.itemsize > _BYTES.get(values.dtype.kind, -1):
        return values
    return torch.from_numpy(np.require(values, values.dtype.newbyteorder("="), ["C", "W"]))


def _tensor(values: object, what: str, classes: str = "") -> Tensor:
    """A numpy array, a list of numbers or a tensor as a tensor on the CPU; `classes` names the array of labels."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.array(None)
    found = as_tensor(array)
    if not isinstance(found, Tensor) or found.is_complex():
        if classes and array.size and (array.dtype.kind in "US" or isinstance(array.ravel()[0], str)):
            raise UserError(
                f"expected {what} as numbers in an array, got texts such as {str(array.ravel()[0])!r}",
                f"hand over np.unique({classes}, return_inverse=True)[1]",
            )
        raise UserError(f"expected {what} as numbers in an array, got {type(values).__name__}", "give a numpy array")
    return found
