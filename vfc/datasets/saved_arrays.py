"""Saved arrays as a data set, so that they are split like every other."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vfc.data import Dataset, ImageSet, check_dataset, count_classes
from vfc.errors import UserError
from vfc.factory import load_arrays_release


@lru_cache(maxsize=1)
def read_arrays(path: Path) -> dict[str, Tensor]:
    """The arrays, validated, read once."""
    return load_arrays_release(path)


def arrays_dataset(path: Path) -> Dataset:
    """A data set whose label `row` says which row of the arrays an image is.

    With originals the split goes by their content. Without them it goes by the content of the releases; equal releases
    may stand for different images (a constant release, say), so none of them is taken for a duplicate.
    """
    saved = read_arrays(path)
    for name in ("attr_label", "attr_row"):
        if name in saved:
            raise UserError(f"expected attributes of other names, got {name!r} in {path}", "rename the array")
    labels = {"label": saved["label"]}
    labels |= {name.removeprefix("attr_"): values for name, values in saved.items() if name.startswith("attr_")}
    images = saved["image"].float() if "image" in saved else _stand_ins(saved["release"], saved["label"])
    rows = ImageSet(images=images, labels=labels)
    classes = count_classes(rows)
    check_dataset(Dataset(name=path.name, task="label", train=rows, test=None, classes=classes))
    for name in ("prediction", "clean_prediction"):
        if name in saved and int(saved[name].max()) >= classes["label"]:
            raise UserError(
                f"expected predictions below {classes['label']} in {path}, got {int(saved[name].max())}",
                "save predicted classes, numbered as in `label`",
            )
    rows = ImageSet(images=images, labels={**labels, "row": torch.arange(len(images))})
    return Dataset(name=path.name, task="label", train=rows, test=None, classes=classes)


def _stand_ins(release: Tensor, label: Tensor) -> Tensor:
    """One distinct 1x4x8 tensor per row, made from the hash of release, label and how often both occurred before."""
    seen: Counter[bytes] = Counter()
    made = []
    for values, y in zip(release.contiguous().numpy(), label.tolist(), strict=True):
        content = hashlib.sha256(values.tobytes() + str(y).encode()).digest()
        seen[content] += 1
        made.append(hashlib.sha256(content + str(seen[content]).encode()).digest())
    codes = np.frombuffer(b"".join(made), np.uint8).reshape(-1, 1, 4, 8)
    return torch.from_numpy(codes.astype(np.float32) / 255)
