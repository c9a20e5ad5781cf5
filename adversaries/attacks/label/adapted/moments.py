"""Unintended models on releases whose statistics match clean images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import as_float
from adversaries.learning.networks import ChannelMatch, NetworkAttack, require_classes
from adversaries.threat import Level

_MOST_VALUES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class QuantileMap:
    """Maps every channel's distribution of values onto another, quantile by quantile.

    Args:
        source: ascending quantiles per channel of what comes in.
        aim: the same quantiles of what goes out.
    """

    source: Float[Tensor, "c q"]
    aim: Float[Tensor, "c q"]

    @classmethod
    def fit(cls, releases: Shaped[Tensor, "n c h w"], images: Float[Tensor, "m c h w"], steps: int) -> QuantileMap:
        """Quantiles of both, at `steps` equal steps."""
        return cls(source=_quantiles(as_float(releases), steps), aim=_quantiles(images, steps))

    def __call__(self, release: Shaped[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Mapped releases; what lies outside the fitted range becomes the nearest end."""
        return torch.stack(
            [
                _interpolate(values, source, aim)
                for values, source, aim in zip(as_float(release).unbind(1), self.source, self.aim, strict=True)
            ],
            dim=1,
        )


def _quantiles(images: Tensor, steps: int) -> Tensor:
    rows = []
    for channel in images.unbind(1):
        values = channel.flatten()
        values = values[:: max(1, len(values) // _MOST_VALUES)].sort().values
        rows.append(values[torch.linspace(0, len(values) - 1, steps).round().long().to(values.device)])
    return torch.stack(rows)


def _interpolate(values: Tensor, source: Tensor, aim: Tensor) -> Tensor:
    """The middle of what a run of equal quantiles maps to; linear between different ones."""
    x = values.contiguous().double()
    low, high = source.double(), aim.double()
    left = torch.searchsorted(low, x, right=False).clamp(0, len(low) - 1)
    right = (torch.searchsorted(low, x, right=True) - 1).clamp(0, len(low) - 1)
    tie = left <= right
    below, above = (left - 1).clamp_min(0), left
    span = low[above] - low[below]
    share = torch.where(span > 0, (x - low[below]) / span.clamp_min(1e-300), torch.ones_like(x)).clamp(0, 1)
    between = high[below] + share * (high[above] - high[below])
    return torch.where(tie, (high[left] + high[right]) / 2, between).float()


@ADVERSARIES.register(
    "moments", goals=("task", "attribute"), variants=({"match": "moments"}, {"match": "histogram"}), order=130
)
@dataclass(frozen=True, kw_only=True)
class MomentMatch(Adversary):
    """An unintended model on releases whose channels have the statistics of clean images.

    Knows: unlabelled releases of its own pool, and its own clean images; no label, no pairing.
    Does: maps every channel so that its mean and deviation, or all its quantiles, are those of clean images.

    Args:
        model: name of the unintended model.
        match: `moments` or `histogram`.
        quantiles: steps of the histogram.
    """

    level: ClassVar[Level] = "L1"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    match: Literal["moments", "histogram"] = "moments"
    quantiles: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:  # noqa: ARG002
        """Measure both statistics; raises `NotApplicableError` for a model of another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        if self.match == "moments":
            return NetworkAttack(model=model, prepare=ChannelMatch.between(view.unlabelled, view.images[0]))
        return NetworkAttack(model=model, prepare=QuantileMap.fit(view.unlabelled, view.images[0], self.quantiles))
