"""The floor's guesser of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.goals.image_metrics import psnr, ssim
from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import spread
from adversaries.threat import Level

_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class FixedImages(Reconstruction):
    """One image for all, or one for every prediction of the target.

    Args:
        image: for all.
        table: by prediction; None without.
        uses_prediction: whether the table is there.
    """

    image: Float[Tensor, "c h w"]
    table: Float[Tensor, "k c h w"] | None
    uses_prediction: bool

    def rebuild(
        self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """The fixed images; the release is not looked at."""
        if prediction is None or self.table is None:
            return self.image.expand(len(release), *self.image.shape).clone()
        return self.table[prediction.clamp(0, len(self.table) - 1)]


@ADVERSARIES.register(
    "mean-image",
    goals=("reconstruction",),
    variants=(
        {"aim": "mean", "by_prediction": True},
        {"aim": "mean", "by_prediction": False},
        {"aim": "psnr", "by_prediction": True},
        {"aim": "ssim", "by_prediction": True},
    ),
    order=1000,
)
@dataclass(frozen=True, kw_only=True)
class MeanImage(Reconstructor):
    """The best constant image: the floor of every reconstruction.

    Knows: its own images and, where there is a target, what it predicts on their releases.
    Does: never looks at the release. Guesses the mean image, or the mean image of the predicted class; `psnr` and
    `ssim` move those images until the mean PSNR or SSIM over its own images is largest, because neither is largest at
    the mean.

    Args:
        aim: mean, psnr or ssim.
        by_prediction: whether there is one image for every predicted class.
        steps: gradient steps of `psnr` and `ssim`.
        lr: their step size (Adam).
    """

    level: ClassVar[Level] = "L3"
    learns_pairs: ClassVar[bool] = False
    blind: ClassVar[bool] = True

    aim: Literal["mean", "psnr", "ssim"] = "mean"
    by_prediction: bool = True
    steps: int = 60
    lr: float = 0.02

    def fit(self, view: Knowledge, generator: torch.Generator) -> FixedImages:  # noqa: ARG002
        """Average, then climb; no randomness."""
        _, images = view.pairs
        seen = view.pair_predictions if self.by_prediction else None
        overall = self._moved(images.mean(0)[None], images, torch.zeros(len(images), dtype=torch.long))[0]
        if seen is None:
            return FixedImages(image=overall, table=None, uses_prediction=False)
        table = overall.expand(int(seen.max()) + 1, *overall.shape).clone()
        for value in torch.unique(seen).tolist():
            table[value] = images[seen == value].mean(0)
        return FixedImages(image=overall, table=self._moved(table, images, seen), uses_prediction=True)

    def _moved(
        self, start: Float[Tensor, "k c h w"], images: Float[Tensor, "n c h w"], group: Int[Tensor, " n"]
    ) -> Float[Tensor, "k c h w"]:
        """Images that are best for their groups, climbing from `start`."""
        if self.aim == "mean":
            return start
        rows = spread(len(images), _ROWS).to(images.device)
        shown, which = images[rows], group.to(images.device)[rows]
        measure = psnr if self.aim == "psnr" else ssim
        moving = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([moving], lr=self.lr)
        for _ in range(self.steps):
            optimizer.zero_grad(set_to_none=True)
            (-measure(moving[which], shown).mean()).backward()
            optimizer.step()
            with torch.no_grad():
                moving.clamp_(0, 1)
        return moving.detach()
