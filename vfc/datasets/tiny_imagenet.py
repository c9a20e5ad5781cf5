"""Tiny ImageNet from the folders of its archive; torchvision has no loader of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vfc.data import DATASETS, DataOptions, Dataset, ImageSet, image_set
from vfc.datasets.pictures import expect_memory, readable, scaled, side_of
from vfc.datasets.torchvision_files import said_plainly
from vfc.errors import UserError

FOLDER = "tiny-imagenet-200"
SIDE = 64
_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_AGAIN = "unpack tiny-imagenet-200.zip again"

Files = list[tuple[Path, int]]
"""Each image file with its class."""


@DATASETS.register("tiny-imagenet")
def tiny_imagenet(argument: str, options: DataOptions) -> Dataset:
    """Tiny ImageNet: 100,000 + 10,000 images of 3x64x64; label `label` (200); `tiny-imagenet:SIDE` scales them.

    Read from the folder `tiny-imagenet-200` of the archive, below `--data-root`. Classes are numbered in the order of
    their WordNet ids, as a folder per class is. The targets are the published validation part: labels of the test part
    are not public. Memory: the pixels take 5.4 GB as floats at 64 pixels and 1.4 GB at 32 (`tiny-imagenet:32`), and the
    parts of a split are a second copy.

    Source: Le and Yang, Tiny ImageNet Visual Recognition Challenge, 2015.
    """
    side = side_of("tiny-imagenet", argument, SIDE)
    root = options.folder / FOLDER
    with said_plainly("tiny-imagenet", options):
        if options.download and not root.is_dir():
            from torchvision.datasets.utils import download_and_extract_archive

            download_and_extract_archive(_URL, str(options.folder), md5=_MD5)
        wnids = sorted(_lines(root / "wnids.txt"))
        names = dict(line.partition("\t")[::2] for line in _lines(root / "words.txt"))
        listed = [_train_files(root / "train", wnids), _val_files(root / "val", wnids)]
    expect_memory("tiny-imagenet", sum(map(len, listed)), side)
    train, test = (_read(files, side) for files in listed)
    return Dataset(
        name="tiny-imagenet" if side == SIDE else f"tiny-imagenet:{side}",
        task="label",
        train=train,
        test=test,
        classes={"label": len(wnids)},
        class_names={"label": tuple(names.get(wnid, wnid) for wnid in wnids)},
    )


def _lines(file: Path) -> list[str]:
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _train_files(folder: Path, wnids: Sequence[str]) -> Files:
    """The images of every class; the class's own list of boxes, where there is one, tells which there must be."""
    found = []
    for label, wnid in enumerate(wnids):
        files = sorted((folder / wnid / "images").glob("*.JPEG"))
        boxes = folder / wnid / f"{wnid}_boxes.txt"
        named = {line.split("\t")[0] for line in _lines(boxes)} if boxes.is_file() else set()
        lacking = sorted(named - {file.name for file in files})
        if lacking or not files:
            what = f"{len(lacking)} of {len(named)} images, {lacking[0]} first" if lacking else "all images"
            raise UserError(f"class {wnid} of tiny-imagenet lacks {what}", _AGAIN)
        found += [(file, label) for file in files]
    return found


def _val_files(folder: Path, wnids: Sequence[str]) -> Files:
    """The images that the annotations of the validation part name, each with the class given there."""
    numbers = {wnid: label for label, wnid in enumerate(wnids)}
    rows = [line.split("\t") for line in _lines(folder / "val_annotations.txt")]
    for row in rows:
        if len(row) < 2 or row[1] not in numbers:
            raise UserError(
                f"expected FILE and one of {len(wnids)} WordNet ids in val_annotations.txt, got {' '.join(row)[:60]!r}",
                _AGAIN,
            )
    further = {file.name for file in (folder / "images").glob("*.JPEG")} - {row[0] for row in rows}
    if further:
        raise UserError(f"val_annotations.txt names no class of {len(further)} images, {min(further)} first", _AGAIN)
    return [(folder / "images" / row[0], numbers[row[1]]) for row in rows]


def _read(files: Files, side: int) -> ImageSet:
    """The images, scaled to one side; raises `UserError` for one that is missing, cut or not of 64 pixels."""
    from PIL import Image

    pixels = np.empty((len(files), side, side, 3), np.uint8)
    for place, (file, _) in enumerate(files):
        with readable(file, _AGAIN), Image.open(file) as image:
            if image.size != (SIDE, SIDE):
                got = "x".join(map(str, image.size))
                raise UserError(f"expected {SIDE}x{SIDE} pixels in {file.name} of tiny-imagenet, got {got}", _AGAIN)
            pixels[place] = scaled(image.convert("RGB"), side)
    return image_set(pixels, {"label": np.array([label for _, label in files])}, "tiny-imagenet")
