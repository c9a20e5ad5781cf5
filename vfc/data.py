"""Images with their labels, and the data sets they come from.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from vfc.config import user_cache_folder
from vfc.datasets.labels import check_from_zero, parse_label
from vfc.errors import UserError, unknown
from vfc.handed.held import DATASETS_HELD
from vfc.registries import DATASETS as DATASETS


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Images and the labels of every one.

    Args:
        images: shape (n, c, h, w), in [0, 1] unless their data set says that they may leave it.
        labels: classes by label name, each of shape (n,), integers from 0.
    """

    images: Float32[Tensor, "n c h w"]
    labels: Mapping[str, Int64[Tensor, " n"]]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def row_hashes(self) -> tuple[bytes, ...]:
        """SHA-256 of each image's bytes: the identity of its content, whatever its position and labels."""
        return tuple(hashlib.sha256(image.tobytes()).digest() for image in self.images.contiguous().numpy())

    @cached_property
    def digest(self) -> str:
        """Content hash of the images and labels, the same in any order of the rows."""
        names = sorted(self.labels)
        classes = np.stack([self.labels[name].numpy() for name in names], axis=1) if names else np.empty((len(self), 0))
        rows = sorted(content + row.tobytes() for content, row in zip(self.row_hashes, classes, strict=True))
        return hashlib.sha256(repr((names, tuple(self.images.shape[1:]))).encode() + b"".join(rows)).hexdigest()

    def attributes(self, task: str) -> dict[str, Int64[Tensor, " n"]]:
        """The labels other than the task's, in their order."""
        return {name: values for name, values in self.labels.items() if name != task}

    def take(self, index: Int64[Tensor, " m"]) -> ImageSet:
        """The rows at some positions, in that order."""
        taken = ImageSet(images=self.images[index], labels={name: row[index] for name, row in self.labels.items()})
        if "row_hashes" in self.__dict__:  # hashing 60,000 images takes a second, so it is done once
            taken.__dict__["row_hashes"] = tuple(self.row_hashes[i] for i in index.tolist())
        return taken


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set with its labels.

    Args:
        name: how reports call it.
        task: the label that the target model predicts.
        train: the training part, or everything when there is no test part.
        test: the test part, or None when the parts are made by `vfc.splits`.
        classes: number of classes by label name; its order is the order in which labels are listed.
        class_names: names of the classes by label name, where they are known.
        checks_range: whether images outside [0, 1] are an error.
        target_rows: how many targets to hold out when there is no test part; None for a quarter.
        defender_rows: how many of the rest the defender owns; None for half.
    """

    name: str
    task: str
    train: ImageSet
    test: ImageSet | None
    classes: Mapping[str, int]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checks_range: bool = True
    target_rows: int | None = None
    defender_rows: int | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The labels other than the task's, in their order."""
        return tuple(name for name in self.classes if name != self.task)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        c, h, w = self.train.images.shape[1:]
        return c, h, w

    @cached_property
    def digest(self) -> str:
        """Content hash of both parts and the labels; the task and the order of the rows do not matter."""
        parts = [self.train.digest, self.test.digest if self.test is not None else ""]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where files may be and whether they may be downloaded.

    Args:
        root: folder of downloaded data sets; None for `$VFC_DATA_ROOT`, else a folder in the user's cache.
        download: whether a loader may fetch what is missing.
        task: the label that will be predicted, for those who leave out images on which it means nothing; None for
            the first one.
    """

    root: Path | None = None
    download: bool = False
    task: str | None = None

    @property
    def folder(self) -> Path:
        """The folder that `root` means."""
        if self.root is not None:
            return self.root
        named = os.environ.get("VFC_DATA_ROOT")
        return Path(named) if named else user_cache_folder() / "data"


MOST_CLASSES = 1_000
"""A class at or above this number is an error unless there are more images than that."""


def load_dataset(
    spec: str,
    *,
    task: str | None = None,
    labels: Sequence[str] = (),
    root: Path | None = None,
    download: bool = False,
) -> Dataset:
    """Load and check a data set.

    Args:
        spec: `digits`, `npz:PATH`, `folder:PATH` or another one of `vfc list datasets`.
        task: the label to predict; None for the first one listed.
        labels: labels to derive, such as `living=label:2,3,4`.
        root: folder of downloaded data sets; None for the default one.
        download: whether missing files may be downloaded.

    Raises:
        UserError: an unknown name, missing or malformed files, or unusable images or labels.
    """
    name, _, argument = spec.partition(":")
    dataset = DATASETS_HELD.get(spec)
    if dataset is None:
        dataset = DATASETS.get(name)(argument, DataOptions(root=root, download=download, task=task))
        check_dataset(dataset)
    for text in labels:
        dataset = _derive(dataset, text)
    if name == "npz":  # ages, say, may be bins' to read
        for label in dataset.classes.keys() - {parse_label(text).source for text in labels}:
            rows = torch.cat([part.labels[label] for part in (dataset.train, dataset.test) if part is not None])
            check_from_zero(f"label {label!r} of {dataset.name}", rows.numpy(), f"store {label}")
    if task is not None:
        if task not in dataset.classes:
            raise unknown("label", task, dataset.classes)
        dataset = replace(dataset, task=task)
    return dataset


def no_argument(name: str, argument: str) -> None:
    """Refuse text after the colon for a data set that takes none; raises `UserError`."""
    if argument:
        raise UserError(f"expected {name} without anything behind it, got {name}:{argument}", f"write {name}")


def image_set(images: npt.NDArray[np.generic], labels: Mapping[str, npt.NDArray[np.generic]], where: str) -> ImageSet:
    """Turn arrays into an `ImageSet`.

    Args:
        images: shape (n, h, w, c) with 1 or 3 channels, uint8, or float in [0, 1].
        labels: integers from 0 by label name, each of shape (n,).
        where: what errors call the arrays.

    Raises:
        UserError: other shapes or types, or labels that do not fit the images.
    """
    if images.ndim != 4 or images.shape[3] not in (1, 3) or images.shape[1] != images.shape[2]:
        first = images.ndim == 4 and images.shape[1] in (1, 3)
        raise UserError(
            f"expected square images of shape (n, side, side, 1 or 3) in {where}, got {images.shape}",
            "store images.transpose(0, 2, 3, 1), with the channels last" if first else "store them as NHWC",
        )
    if len(images) == 0:
        raise UserError(f"expected images in {where}, got none", "add images")
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise UserError(
            f"expected uint8 images, or floats in [0, 1], in {where}, got {images.dtype}",
            "store images.astype('uint8'), if they are in 0 to 255",
        )
    with np.errstate(over="ignore"):  # numbers too large for float32 become infinite and are refused by the checks
        pixels = torch.from_numpy(np.array(images.transpose(0, 3, 1, 2), dtype=np.float32, order="C"))
    if images.dtype == np.uint8:
        pixels.div_(255)
    rows = {}
    for name, values in labels.items():
        if values.ndim == 2 and len(values) == len(images) and values.shape[1] > 1:
            raise UserError(
                f"expected {len(images)} values of label {name!r} in {where}, got shape {values.shape}: scores, or one "
                "column per class",
                f"store {name}.argmax(1)",
            )
        if values.dtype.kind not in "iub":
            raise UserError(
                f"expected integers as label {name!r} in {where}, got {values.dtype}",
                f"number the classes: store np.unique({name}, return_inverse=True)[1]",
            )
        if values.shape != (len(images),):
            raise UserError(
                f"expected {len(images)} values of label {name!r} in {where}, got shape {values.shape}",
                "give one value per image",
            )
        rows[name] = torch.from_numpy(values.astype(np.int64))
    return ImageSet(images=pixels, labels=rows)


def into_range(low: float, high: float, what: str) -> str:
    """What to do about pixels from `low` to `high`: bytes are divided, a normalization is undone."""
    if low >= 0 and 1.5 < high <= 255:
        return f"use {what} / 255"
    return "undo the normalization, and normalize inside the defense and the target"


def count_classes(*parts: ImageSet | None) -> dict[str, int]:
    """Number of classes by label: one more than the highest value in any part."""
    sets = [part for part in parts if part is not None]
    return {name: max(int(part.labels[name].max()) for part in sets) + 1 for name in sets[0].labels}


def check_dataset(dataset: Dataset) -> None:
    """Refuse images and labels that nothing could be measured on; raises `UserError`."""
    parts = {"train": dataset.train} if dataset.test is None else {"train": dataset.train, "test": dataset.test}
    if dataset.test is not None and dataset.test.images.shape[1:] != dataset.train.images.shape[1:]:
        shapes = " and ".join(str(tuple(part.images.shape[1:])) for part in parts.values())
        raise UserError(
            f"expected train and test images of one shape in {dataset.name}, got {shapes}", "scale them to one size"
        )
    for where, part in parts.items():
        low, high = (float(value) for value in torch.aminmax(part.images))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise UserError(f"expected finite pixels in {dataset.name} ({where}), got NaN or infinity", "repair them")
        if dataset.checks_range and (low < 0 or high > 1):
            raise UserError(
                f"expected pixels in [0, 1] in {dataset.name} ({where}), got {low:.4g} to {high:.4g}",
                into_range(low, high, "images"),
            )
        for name, values in part.labels.items():
            lowest, highest = (int(value) for value in torch.aminmax(values))
            if lowest < 0 or highest >= max(MOST_CLASSES, len(values)):
                raise UserError(
                    f"expected classes from 0 as label {name!r} of {dataset.name} ({where}), got {lowest} to {highest}",
                    "number the classes from 0 without gaps",
                )
    if not dataset.classes:
        raise UserError(f"expected at least one label in {dataset.name}, got none", "add one")
    for name in dataset.classes:
        if len(torch.unique(torch.cat([part.labels[name] for part in parts.values()]))) < 2:
            raise UserError(
                f"label {name!r} of {dataset.name} has a single class", "give it a second class, or remove it"
            )


def _derive(dataset: Dataset, text: str) -> Dataset:
    derivation = parse_label(text)
    sizes = [len(dataset.train), *([len(dataset.test)] if dataset.test is not None else [])]
    together = {
        name: np.concatenate([part.labels[name].numpy() for part in (dataset.train, dataset.test) if part is not None])
        for name in dataset.classes
    }
    values = torch.from_numpy(derivation.apply(together))
    if len(torch.unique(values)) < 2:
        raise UserError(f"label {derivation.name!r} ({text}) has a single class", "choose other classes or bounds")
    pieces = torch.split(values, sizes)
    train, *rest = (
        replace(part, labels={**part.labels, derivation.name: piece})
        for part, piece in zip((dataset.train, dataset.test), pieces, strict=False)
        if part is not None
    )
    return replace(
        dataset,
        train=train,
        test=rest[0] if rest else None,
        classes={**dataset.classes, derivation.name: len(derivation.class_names)},
        class_names={**dataset.class_names, derivation.name: derivation.class_names},
    )
