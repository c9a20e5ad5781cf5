"""Unintended models retrained on what the defense answers.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.label.adapted.adapter import Adapter
from adversaries.attacks.label.adapted.fine_tune import FineTune
from adversaries.knowledge import Knowledge
from adversaries.learning.queries import moved
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.training import predict_logits

_KEPT = 0.9
"""Share of a clean model's accuracy on its own images that it must have on their mirror images to mirror queries."""


@ADVERSARIES.register("replay-training", goals=("task", "attribute"), order=430)
@dataclass(frozen=True, kw_only=True)
class ReplayTraining(Adversary):
    """An unintended model retrained on its own images, and on moved copies of them, sent through the defense.

    Knows: its own images with their labels, and what the deployed defense answers to any image; no weights.
    Does: asks for copies of every own image, moved by up to a pixel or an eighth of the side, whatever is more, and
    mirrored where the clean model names mirror images nearly as well; then trains as `fine-tune` does with `scope=all`
    (releases shaped like images) or as `adapter` does (any other release) on all of them.
    Source: our own; augmentation of what an attacker may ask. Compare `mask-replay`, which knows the mask.

    Args:
        model: name of the unintended model.
        copies: of every own image, at least 1.
        steps: optimizer steps; None as of the inner adversary.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L3"
    per_model: ClassVar[bool] = True

    model: str
    copies: int = 2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> Attack:
        """Ask, then learn.

        Raises:
            NotApplicableError: there is no defense to ask, or it answers in another shape, or labels are few: whoever
                asks has a label for every query.
        """
        if view.threat.labels_per_class != "all":
            raise NotApplicableError("whoever asks knows the label of every query, so that labels are not counted")
        images = view.pairs[1]
        mirrored = _shows_the_same(view.model(self.model), images, view.labelled[1])
        asked = torch.cat([moved(images, generator, mirrored=mirrored) for _ in range(self.copies)])
        rows = torch.arange(len(images), device=images.device).repeat(self.copies)
        longer = view.longer(view.ask(asked, generator), asked, rows)
        reader = FineTune if view.image_shaped else Adapter
        return reader(model=self.model, steps=self.steps, times=self.times).fit(longer, generator)

    def doubled(self) -> ReplayTraining:
        """The same with twice the training."""
        return replace(self, times=2 * self.times)


def _shows_the_same(model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> bool:
    """Whether a clean model names mirror images of what it was trained on nearly as well as the images themselves."""
    right, still = (
        float((predict_logits(model, x).argmax(1).to(labels.device) == labels).double().mean())
        for x in (images, images.flip(-1))
    )
    return still >= _KEPT * right
