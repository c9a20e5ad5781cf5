"""Data sets in one numpy file. Nothing in it is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfc.data import DATASETS, DataOptions, Dataset, ImageSet, count_classes, image_set
from vfc.errors import UserError

_LAYOUT = "store train_images, test_images, train_LABEL, test_LABEL, or images and LABEL for one split"

_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy and zipfile raise for damaged, hostile or pickled content."""


@DATASETS.register("npz")
def npz(argument: str, options: DataOptions) -> Dataset:  # noqa: ARG001  (the path says where)
    """`npz:PATH`: your own images, uint8 NHWC (or floats in [0, 1]) with integer labels, in one numpy file.

    Either `train_images`, `test_images`, `train_<label>`, `test_<label>`, or one split that is divided here: `images`,
    `<label>`. Labels are listed in the file's order. Object arrays are refused, never unpickled.
    """
    if not argument:
        raise UserError("expected npz:PATH, got npz", _LAYOUT)
    path = Path(argument).expanduser()
    arrays = read_arrays(path)
    if "images" in arrays:
        prefixes = [""]
    elif "train_images" in arrays and "test_images" in arrays:
        prefixes = ["train_", "test_"]
    else:
        raise UserError(f"expected images in {path.name}, got {', '.join(arrays) or 'nothing'}", _LAYOUT)
    parts = [_part(arrays, prefix, path.name) for prefix in prefixes]
    if any(set(part.labels) != set(parts[0].labels) for part in parts):
        got = " and ".join(", ".join(part.labels) or "none" for part in parts)
        raise UserError(f"expected the same labels for train and test in {path.name}, got {got}", _LAYOUT)
    if not parts[0].labels:
        raise UserError(f"expected at least one label in {path.name}, got {', '.join(arrays)}", _LAYOUT)
    test = parts[1] if len(parts) > 1 else None
    return Dataset(
        name=f"npz:{path.name}",
        task=next(iter(parts[0].labels)),
        train=parts[0],
        test=test,
        classes=count_classes(parts[0], test),
    )


def read_arrays(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of a numpy file; raises `UserError` unless it is a whole `.npz` without object arrays."""
    if not path.is_file():
        raise UserError(f"expected a file, got {path}, which is none", "check the path")
    try:
        with zipfile.ZipFile(path):
            pass
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path.name} is no whole .npz file ({error})", "write it with numpy.savez") from error
    key = ""
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                arrays[key] = file[key]
    except _UNREADABLE as error:
        raise UserError(
            f"array {key!r} of {path.name} cannot be read ({error})", "store numbers, and the whole file"
        ) from error
    strays = [key for key, values in arrays.items() if not isinstance(values, np.ndarray)]
    if strays:
        raise UserError(f"expected arrays in {path.name}, got other data in {strays[0]!r}", "write it with numpy.savez")
    return arrays


def _part(arrays: dict[str, npt.NDArray[np.generic]], prefix: str, name: str) -> ImageSet:
    labels = {
        key.removeprefix(prefix): values
        for key, values in arrays.items()
        if key.startswith(prefix) and key != f"{prefix}images"
    }
    return image_set(arrays[f"{prefix}images"], labels, f"{prefix}images of {name}" if prefix else name)
