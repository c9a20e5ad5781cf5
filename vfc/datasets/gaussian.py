"""The embedded made-up data, whose best possible accuracy is known."""

from __future__ import annotations

import numpy as np

from vfc.data import DATASETS, DataOptions, Dataset, image_set, no_argument

SEED = 20240601
SIDE = 8
ROWS = 8_000
DISTANCE = 1.5
"""Distance of a class mean from the origin, in standard deviations: Bayes accuracy Phi(1.5) = .933."""


@DATASETS.register("gaussian")
def gaussian(argument: str, options: DataOptions) -> Dataset:  # noqa: ARG001  (embedded: there is nothing to find)
    """8,000 Gaussian images of 1x8x8 with a task and an independent attribute, Bayes accuracy .933 each; embedded.

    x = .5 + .05 g, with g unit normal around -1.5 or +1.5 along one direction for the task (left against right half)
    and an orthogonal one for the attribute (top against bottom half). The four combinations are equally frequent.
    Never clipped, so pixels may leave [0, 1]. 2,000 of the images are targets.
    """
    no_argument("gaussian", argument)
    # numpy's generator, because its normal numbers are the same on every processor.
    draws = np.random.Generator(np.random.PCG64(SEED)).standard_normal((ROWS, SIDE, SIDE))
    rows = np.arange(ROWS)
    task, attribute = rows % 2, rows // 2 % 2
    half = np.where(np.arange(SIDE) < SIDE // 2, -1.0, 1.0)
    across = np.broadcast_to(half / SIDE, (SIDE, SIDE))  # unit length: 64 pixels of 1/8
    for label, direction in ((task, across), (attribute, across.T)):
        draws = draws + DISTANCE * (2 * label - 1)[:, None, None] * direction
    labels = {"task": task, "attribute": attribute}
    return Dataset(
        name="gaussian",
        task="task",
        train=image_set((0.5 + 0.05 * draws)[..., None], labels, "gaussian"),
        test=None,
        classes={"task": 2, "attribute": 2},
        checks_range=False,
        target_rows=2_000,
    )
