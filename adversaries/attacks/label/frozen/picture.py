"""Unintended models read the release made a real picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import as_float
from adversaries.learning.networks import NetworkAttack, require_classes
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Releases as 8-bit pictures: values in [0, 1] on the grid of 1/255.

    Args:
        low: the value that becomes 0.
        high: the value that becomes 1.
    """

    low: float
    high: float

    @classmethod
    def rescaling(cls, releases: Shaped[Tensor, "n ..."]) -> Picture:
        """From the range of some releases."""
        finite = as_float(releases)
        return cls(low=float(finite.amin()), high=float(finite.amax()))

    def __call__(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """The picture; a range of no width becomes black."""
        span = self.high - self.low
        unit = (as_float(release).double() - self.low) / span if span > 0 else as_float(release).double() * 0
        return ((unit.clamp(0, 1) * 255).round() / 255).float()


@ADVERSARIES.register(
    "frozen-picture", goals=("task", "attribute"), variants=({"form": "clip"}, {"form": "rescale"}), order=20
)
@dataclass(frozen=True, kw_only=True)
class FrozenPicture(Adversary):
    """An unintended model reads the release made a real picture: clipped or rescaled to [0, 1], 8 bit.

    Knows: its own clean images and models; for `rescale` also the range of the published values, which anyone sees
    who sees one batch of releases.
    Does: clips to [0, 1], or maps the range of the pool's releases onto [0, 1]; then rounds to 256 steps.

    Args:
        model: name of the unintended model.
        form: `clip` or `rescale`.
    """

    level: ClassVar[Level] = "L0"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    form: Literal["clip", "rescale"] = "clip"

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:  # noqa: ARG002
        """Take the model as it is; raises `NotApplicableError` if it predicts another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        if self.form == "clip":
            return NetworkAttack(model=model, prepare=Picture(low=0.0, high=1.0))
        low, high = view.release_range
        return NetworkAttack(model=model, prepare=Picture(low=low, high=high))
