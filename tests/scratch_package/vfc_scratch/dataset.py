"""A data set: images with labels."""

import numpy as np

from vfc.data import DATASETS, Dataset, image_set


@DATASETS.register("stripes")
def stripes(argument, options):
    """600 images of 8x8 with rows or columns that differ, each in its own way."""
    rng = np.random.default_rng(0)
    axis = np.arange(600) % 2
    lines = rng.uniform(0, 1, (600, 8, 1)) + rng.uniform(-0.3, 0.3, (600, 8, 8))
    images = np.where(axis[:, None, None] == 0, lines, lines.transpose(0, 2, 1)).clip(0, 1)
    parts = image_set(images[..., None], {"axis": axis}, "stripes")
    return Dataset(name="stripes", task="axis", train=parts, test=None, classes={"axis": 2})
