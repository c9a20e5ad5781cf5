"""Averaging of repeated releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.attacks.inversion.ridge_decoder import RidgeReconstruction, fit_ridge
from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import as_float
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class AveragingReconstruction(Reconstruction):
    """Averages, then decodes.

    Args:
        inner: from averages to images.
        uses_prediction: whether it reads the target's predictions.
    """

    inner: RidgeReconstruction
    uses_prediction: bool

    def rebuild(
        self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """Decoded averages."""
        return self.inner.rebuild(_average(release), prediction)


@ADVERSARIES.register("averaging", goals=("reconstruction",), order=30)
@dataclass(frozen=True, kw_only=True)
class Averaging(Reconstructor):
    """The closed-form decoder on the average of several releases of one image.

    Knows: several releases of every image, and pairs of its own.
    Does: averages, which removes what is drawn anew for every release, then decodes as `ridge-decoder` does.
    """

    level: ClassVar[Level] = "L4"
    reads_repeats: ClassVar[bool] = True

    def fit(self, view: Knowledge, generator: torch.Generator) -> AveragingReconstruction:  # noqa: ARG002
        """Average and solve; no randomness."""
        release, images = view.pairs
        inner = fit_ridge(_average(release), images, view.pair_predictions, view.num_classes)
        return AveragingReconstruction(inner=inner, uses_prediction=inner.uses_prediction)


def _average(release: Shaped[Tensor, "n m ..."]) -> Float[Tensor, "n ..."]:
    return as_float(release).mean(1)
