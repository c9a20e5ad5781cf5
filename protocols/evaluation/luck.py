"""How likely what was found on shuffled pairs is by luck."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from adversaries.statistics import estimates

Rows = np.ndarray[Any, np.dtype[np.float64]]


def above_chance(arrays: Mapping[str, Any]) -> Iterable[float]:
    """One-sided p-values of every result of a shuffled arm, by the names of its arrays.

    Matches against the rate of a random member of the gallery; PSNR against that with the other images of the gallery,
    which is an exact comparison for whatever does not know the pairs; readers against the most frequent label.
    """
    if "targets.chance" in arrays:
        chance = float(np.mean(arrays["targets.chance"]))
        for name, values in arrays.items():
            if name.startswith("targets.hit."):
                yield estimates.binomial_upper_tail(int(np.sum(values)), len(values), chance)
    if "targets.beside" in arrays:
        beside = np.asarray(arrays["targets.beside"], dtype=np.float64)
        apart = (np.asarray(arrays["targets.psnr"], dtype=np.float64)[: len(beside)] - beside)[np.isfinite(beside)]
        yield _mean_above_zero(apart)
    for name, values in arrays.items():
        if name.startswith("targets.read."):
            yield estimates.binomial_upper_tail(
                int(np.sum(values)), len(values), float(np.mean(arrays["targets.majority"]))
            )


def _mean_above_zero(rows: Rows) -> float:
    """One-sided p-value of Student's t test that a mean is not above 0."""
    if len(rows) < 2 or float(rows.std(ddof=1)) == 0:
        return 1.0
    from scipy.special import stdtr

    return float(stdtr(len(rows) - 1, -float(rows.mean()) / (float(rows.std(ddof=1)) / np.sqrt(len(rows)))))
