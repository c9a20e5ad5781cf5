"""Probes on the size and shape of a release's distribution of values.

Axes: n rows, g groups (the whole release, then every channel), d values per group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, KernelName, ProbeAttack, as_float, fit_best, wide
from adversaries.threat import Level

_MOST_CHANNELS = 64
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BANDWIDTHS = (0.3, 0.6, 1.2, 2.4)


def statistics(release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n f"]:
    """Norms, moments, quantiles and zeros of every release, and of each of its first 64 channels.

    Norms also enter by their logarithm, so that releases of any scale spread out.
    """
    x = as_float(release).to(wide(release.device))
    whole = _describe(x.reshape(len(x), 1, -1))
    if x.ndim < 3 or x.shape[1] == 1:
        return whole
    return torch.cat([whole, _describe(x[:, :_MOST_CHANNELS].flatten(2))], dim=1)


def _describe(x: Float[Tensor, "n g d"]) -> Float[Tensor, "n f"]:
    mean, size = x.mean(2), x.abs()
    centered = x - mean[..., None]
    deviation = centered.square().mean(2).sqrt()
    unit = centered / deviation.clamp_min(1e-30)[..., None]
    ordered = x.sort(2).values
    last = x.shape[2] - 1
    norms = [size.mean(2), size.square().mean(2).sqrt(), size.amax(2), deviation]
    columns = [
        mean,
        *norms,
        *[(norm + 1e-30).log() for norm in norms],
        x.amin(2),
        x.amax(2),
        unit.pow(3).mean(2),
        unit.pow(4).mean(2),
        (x == 0).to(x).mean(2),
        *[ordered[..., round(share * last)] for share in _QUANTILES],
    ]
    return torch.cat(columns, dim=1).float().nan_to_num()


@ADVERSARIES.register("norms", goals=("task", "attribute"), order=270)
@dataclass(frozen=True, kw_only=True)
class Norms(Adversary):
    """A kernel probe on norms, moments, quantiles and zeros per release and channel.

    Knows: labelled releases; unlabelled ones for the scale of every statistic.
    Does: ridge regression, linear or with a Gaussian kernel; ridge, kernel and bandwidth by leave-one-out inside the
    labelled rows.
    """

    level: ClassVar[Level] = "L2"

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness."""
        release, y = view.labelled
        columns = Columns.fit(statistics(view.unlabelled))

        def features(rows: Tensor) -> Tensor:
            return columns(statistics(rows)).clamp(-10, 10)

        x = features(release)
        some = x[: min(len(x), 500)]
        middle = float(torch.cdist(some, some).median()) or 1.0
        kernels: list[tuple[KernelName, float]] = [("linear", 1.0), *(("rbf", w * middle) for w in _BANDWIDTHS)]
        return ProbeAttack(features=features, ridge=fit_best(x, y, view.num_classes, kernels))
