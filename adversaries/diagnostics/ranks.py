"""Ranks of Jacobians as a report says them: means over images with intervals, and those of E[J'J].

Axes: n images, r singular values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adversaries.diagnostics.spectra import Spectra
from adversaries.diagnostics.spectrum import RELATIVE, Spectrum
from adversaries.evidence import Value
from adversaries.statistics import estimates


def jacobian_values(found: Spectra, layer: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Value]:
    """Ranks as means over images with Student's t bounds, and those of E[J'J].

    Args:
        found: the spectra.
        layer: names the rows in the sidecar.
        arrays: takes the numbers per image and, as `spectra/<layer>`, the singular values.
    """
    shortest = min(len(spectrum.values) for spectrum in found.each)
    arrays[f"spectra/{layer}"] = torch.stack([each.values[:shortest] for each in found.each]).float().cpu().numpy()
    readings: dict[str, Callable[[Spectrum], float | None]] = {
        "leakage.jacobian.effective_rank": lambda spectrum: spectrum.effective_rank,
        "leakage.jacobian.stable_rank": lambda spectrum: spectrum.stable_rank,
        "jacobian.rank@eps": lambda spectrum: spectrum.rank(),
    }
    for share in RELATIVE:
        name = "leakage.jacobian.rank@1e-3" if share == 1e-3 else f"jacobian.rank@1e{round(math.log10(share))}"
        readings[name] = partial(_rank, share)
    values = {}
    for name, read in readings.items():
        each = [read(spectrum) for spectrum in found.each]
        numbers = [number for number in each if number is not None]
        short = name.removeprefix("leakage.")
        if len(numbers) < len(each):
            least = min(spectrum.rank_at_least(1e-3) for spectrum in found.each)
            values[name] = Value.unknown(
                f"a sketch does not see small singular values: at least {least}, at most {min(found.shape)}",
                unit="dimensions",
            )
        else:
            key = f"leakage/{layer}/{short}"
            arrays[key] = np.asarray(numbers, dtype=np.float64)
            values[name] = estimates.mean(numbers, "dimensions", rows=key)
        values[short.replace("jacobian.", "mean_jacobian.")] = _of_mean(found.mean, read)
    return values


def _rank(share: float, spectrum: Spectrum) -> float | None:
    return spectrum.rank(share)


def _of_mean(spectrum: Spectrum, read: Callable[[Spectrum], float | None]) -> Value:
    value = read(spectrum)
    if value is None:
        return Value.unknown("a sketch does not see small singular values", unit="dimensions")
    if spectrum.exact:
        return Value(value=value, low=value, high=value, unit="dimensions", method=f"of E[J'J]; {spectrum.method}")
    error = 1.7 * spectrum.error(read)
    return Value(
        value=value, low=max(0.0, value - error), high=value + error, unit="dimensions", method=spectrum.method
    )
