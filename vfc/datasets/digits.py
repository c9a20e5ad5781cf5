"""The embedded real data: scikit-learn's handwritten digits."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfc.data import DATASETS, DataOptions, Dataset, image_set, no_argument

SIDE_FACTOR = 2
_FILE = Path("datasets", "data", "digits.csv.gz")


def _table() -> NDArray[np.float64]:
    """One row per image, 64 pixels and the digit, as scikit-learn ships them.

    The file is read without importing scikit-learn, which would cost a second and 70 MB.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / _FILE
        if path.is_file():
            with gzip.open(path, "rt") as file:
                return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])


@DATASETS.register("digits")
def digits(argument: str, options: DataOptions) -> Dataset:  # noqa: ARG001  (embedded: there is nothing to find)
    """1,797 handwritten digits of 8x8 pixels, each pixel repeated 2x2: 1x16x16; embedded (scikit-learn).

    Labels: `digit` (10), `parity` (odd), `large` (5 or more), `ink` (above-median ink, nearly independent of the
    digit). Parts: 600 images for the defender, 747 for the attacker, 450 targets.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """
    no_argument("digits", argument)
    table = _table()
    small, digit = table[:, :64].reshape(-1, 8, 8) / 16, table[:, 64].astype(np.int64)
    ink = small.sum((1, 2))
    images = small.repeat(SIDE_FACTOR, axis=1).repeat(SIDE_FACTOR, axis=2)[..., None]
    labels = {"digit": digit, "parity": digit % 2, "large": digit >= 5, "ink": ink > np.median(ink)}
    return Dataset(
        name="digits",
        task="digit",
        train=image_set(images, labels, "digits"),
        test=None,
        classes={"digit": 10, "parity": 2, "large": 2, "ink": 2},
        class_names={
            "digit": tuple("0123456789"),
            "parity": ("even", "odd"),
            "large": ("0 to 4", "5 to 9"),
            "ink": ("little ink", "much ink"),
        },
        target_rows=450,
        defender_rows=600,
    )
