"""Retrain an unintended model on images of one's own, pushed through the defense again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.label.adapted.fine_tune import FineTune
from adversaries.attacks.mask.opened_latent import Latent, ReadView, open_latent
from adversaries.knowledge import Knowledge
from adversaries.threat import Level


@ADVERSARIES.register("mask-replay", goals=("mask",), order=20)
@dataclass(frozen=True, kw_only=True)
class MaskReplay(Adversary):
    """An unintended model retrained on the attacker's own images, pushed through the defense with the same mask.

    Knows: the defense; labelled images of its own and their releases; the models trained on them.
    Does: publishes every own image several times more, with fresh noise on the latent and the image's own mask, and
    fine-tunes all weights of an unintended model on those and on the labelled releases.

    Args:
        model: name of the unintended model.
        copies: how often every own image is published again.
        noise: size of the latent noise, in deviations of each unit over the attacker's images.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 200 and at least 8 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L4"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True

    model: str
    copies: int = 2
    noise: float = 0.3
    lr: float = 2e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Attack:
        """Publish again, then retrain.

        Raises:
            NotApplicableError: the defense has no mask, or does not show its encoder and decoder.
        """
        images, y = view.images
        latent = open_latent(view.defense, images)
        again = [_replayed(latent, images, self.noise, generator) for _ in range(self.copies)]
        return self.inner().fit(ReadView(view, extra=(torch.cat(again), y.repeat(self.copies))), generator)

    def inner(self) -> Adversary:
        """The same retraining on labelled releases alone."""
        return FineTune(
            model=self.model, lr=self.lr, weight_decay=self.weight_decay, steps=self.steps, times=self.times
        )

    def doubled(self) -> MaskReplay:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


@torch.no_grad()
def _replayed(latent: Latent, images: Tensor, noise: float, generator: torch.Generator) -> Shaped[Tensor, "n ..."]:
    """Releases of images with each image's own mask and fresh noise on its latent."""
    _, kept = latent.published(images, generator)
    z = latent.encode(images)
    fresh = torch.randn(z.shape, generator=generator).to(z) * z.std(0, correction=0) * noise
    return torch.cat([latent.decode(rows) for rows in torch.split((z + fresh) * kept, 512)])
