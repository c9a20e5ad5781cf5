"""A closed-form decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.ridge_map import MARGIN, RidgeMap, default_kernels
from adversaries.threat import Level
from vfc.errors import NotApplicableError


@dataclass(frozen=True, kw_only=True)
class RidgeReconstruction(Reconstruction):
    """Regressions from the release to all pixels.

    Args:
        plain: reads the release alone.
        knowing: reads the target's prediction too; None where that did not help on pairs left out.
        shape: (c, h, w) of one image.
        uses_prediction: whether `knowing` is there.
    """

    plain: RidgeMap
    knowing: RidgeMap | None
    shape: tuple[int, ...]
    uses_prediction: bool

    def rebuild(
        self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """Predicted pixels; each row stands alone."""
        if prediction is None or self.knowing is None:
            return self.plain(release).reshape(-1, *self.shape)
        return self.knowing(release, prediction).reshape(-1, *self.shape)


@ADVERSARIES.register(
    "ridge-decoder", goals=("reconstruction",), variants=({"form": "linear"}, {"form": "kernel"}), order=10
)
@dataclass(frozen=True, kw_only=True)
class RidgeDecoder(Reconstructor):
    """Ridge regression from the release to all pixels at once.

    Knows: pairs (image, release) of its own; the target's prediction on releases, where there is a target.
    Does: standardizes columns, then solves in closed form; ridge, and for `kernel` its form (quadratic, Gaussian) and
    bandwidth, by the squared error on pairs left out. `linear` undoes every linear encoding that it has seen enough
    pairs of: secret permutations and rotations are found by known plaintext.

    Args:
        form: linear or kernel.
    """

    level: ClassVar[Level] = "L3"

    form: Literal["linear", "kernel"] = "linear"

    def fit(self, view: Knowledge, generator: torch.Generator) -> RidgeReconstruction:  # noqa: ARG002
        """Solve; closed form, no randomness.

        Raises:
            NotApplicableError: `kernel`, and the pairs have too many values for one.
        """
        release, images = view.pairs
        return fit_ridge(release, images, view.pair_predictions, view.num_classes, form=self.form)


def fit_ridge(
    release: Shaped[Tensor, "n ..."],
    images: Float[Tensor, "n c h w"],
    prediction: Int[Tensor, " n"] | None,
    classes: int,
    *,
    form: Literal["linear", "kernel", "margin"] = "margin",
) -> RidgeReconstruction:
    """The regressions with and without predictions.

    Args:
        release: releases, any shape and type.
        images: what they stand for.
        prediction: the target's predictions, or None.
        classes: number of classes that the target tells apart.
        form: `linear`; the best `kernel`; or `margin`, a kernel only where its error on pairs left out is lower than
            the linear map's by the margin of `RidgeMap`.

    Raises:
        NotApplicableError: `kernel`, and there are too many values for one.
    """
    columns = Columns.fit(flat(release))

    def features(rows: Tensor) -> Tensor:
        return columns(flat(rows))

    x, y = features(release), images.flatten(1)
    linear, *others = default_kernels(x)
    kernels = {"linear": [linear], "kernel": others, "margin": [linear, *others]}[form]
    if not kernels:
        raise NotApplicableError(f"{tuple(x.shape)} values are too many for a kernel")
    plain = RidgeMap.fit(features, x, y, kernels, margin=0.0 if form == "kernel" else MARGIN)
    knowing = None
    if prediction is not None:
        # As much weight on the prediction as on a hundred columns, so that a Gaussian kernel sees it too.
        weight = max(1.0, (flat(release[:1]).shape[1] / 100) ** 0.5)

        def both(rows: Tensor, seen: Tensor) -> Tensor:
            onehot = nn.functional.one_hot(seen.clamp(0, classes - 1), classes)
            return torch.cat([features(rows), weight * (onehot - 1 / classes)], dim=1)

        knowing = RidgeMap.fit(both, both(release, prediction), y, (plain.kernel,))
        if knowing.error >= plain.error:
            knowing = None
    return RidgeReconstruction(
        plain=plain, knowing=knowing, shape=tuple(images.shape[1:]), uses_prediction=knowing is not None
    )
