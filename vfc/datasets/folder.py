"""Data sets as folders of image files, one folder per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from vfc.data import DATASETS, DataOptions, Dataset, ImageSet, image_set
from vfc.datasets.pictures import readable
from vfc.errors import UserError

_LAYOUT = "store PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE and PATH/test/CLASS/IMAGE"


@DATASETS.register("folder")
def folder(argument: str, options: DataOptions) -> Dataset:  # noqa: ARG001  (the path says where)
    """`folder:PATH`: your own image files of one square size, a folder per class (torchvision's ImageFolder).

    Either `PATH/<class>/<image>`, divided here, or `PATH/train/<class>/<image>` with `PATH/test/<class>/<image>`.
    Label: `label`, the classes in alphabetical order. Gray files stay gray when all are; otherwise all become RGB.
    """
    if not argument:
        raise UserError("expected folder:PATH, got folder", _LAYOUT)
    path = Path(argument).expanduser()
    if not path.is_dir():
        raise UserError(f"expected a folder, got {path}, which is none", "check the path")
    divided = (path / "train").is_dir() and (path / "test").is_dir()
    listed = [_list(part) for part in ([path / "train", path / "test"] if divided else [path])]
    if any(classes != listed[0][0] for classes, _ in listed):
        raise UserError(f"expected the same classes in train and test of {path.name}", _LAYOUT)
    everything = [file for _, files in listed for file, _ in files]
    gray = all(_mode(file) in ("1", "L") for file in everything)
    parts = [_read(files, gray) for _, files in listed]
    classes = listed[0][0]
    return Dataset(
        name=f"folder:{path.name}",
        task="label",
        train=parts[0],
        test=parts[1] if divided else None,
        classes={"label": len(classes)},
        class_names={"label": classes},
    )


def _list(path: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(path)
    except OSError as error:
        raise UserError(f"{path.name} holds no image folders ({error})", _LAYOUT) from error
    return tuple(found.classes), [(Path(file), int(label)) for file, label in found.samples]


def _mode(file: Path) -> str:
    from PIL import Image

    with readable(file), Image.open(file) as image:
        mode = image.mode
    return str(mode)


def _read(files: list[tuple[Path, int]], gray: bool) -> ImageSet:
    from PIL import Image

    images: list[npt.NDArray[np.generic]] = []
    for file, _ in files:
        with readable(file), Image.open(file) as image:
            images.append(np.asarray(image.convert("L" if gray else "RGB")))
        if images[-1].shape != images[0].shape:
            sizes = " and ".join(f"{values.shape[1]}x{values.shape[0]}" for values in (images[0], images[-1]))
            raise UserError(f"expected images of one size, got {sizes} ({file.name})", "resize them")
    stacked = np.stack(images)
    labels = {"label": np.array([label for _, label in files])}
    return image_set(stacked[..., None] if gray else stacked, labels, files[0][0].parents[1].name)
