"""A decoder that asks the defense for more pairs.

Axes: n pairs, c channels, h and w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from adversaries.attacks.inversion.decoder import Decoder, TrainedDecoder
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.learning.queries import moved
from adversaries.threat import Level
from vfc.errors import NotApplicableError


@ADVERSARIES.register(
    "replay-decoder", goals=("reconstruction",), variants=({"form": "vector"}, {"form": "image"}), order=100
)
@dataclass(frozen=True, kw_only=True)
class ReplayDecoder(Reconstructor):
    """A trained decoder with more pairs: its own images, mirrored and moved, sent through the defense.

    Knows: pairs (image, release) of its own, and what the deployed defense answers to any image.
    Does: asks for copies of its own images, each mirrored or not and moved by up to a pixel or an eighth of the side,
    whatever is more, and trains as `decoder` does on those pairs and its own. It works for every defense that
    publishes, differentiable or not.
    Source: queries of one's own images are how every inverse network is trained; see `inverse-network`.

    Args:
        form: vector or image, as of `decoder`.
        copies: of every own image, at least 1.
        steps: optimizer steps, at most; None as of `decoder`.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L4"

    form: Literal["vector", "image"] = "vector"
    copies: int = 2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> TrainedDecoder:
        """Ask, then learn.

        Raises:
            NotApplicableError: there is no defense to ask, or it answers in another shape, or the form needs two
                spatial axes.
            UserError: it refuses.
        """
        # Pairs of one image stay on one side of the held-out tenth: row i and every copy of it agree modulo ten.
        count = len(view.pairs[0]) // 10 * 10
        if count == 0:
            raise NotApplicableError("fewer than ten pairs")
        release, images = (each[:count] for each in view.pairs)
        asked = torch.cat([moved(images, generator) for _ in range(self.copies)])
        answers = view.ask(asked, generator)
        inner = Decoder(form=self.form, steps=self.steps, times=self.times)
        return inner.learned(torch.cat([release, answers]), torch.cat([images, asked]), view.num_classes, generator)

    def doubled(self) -> ReplayDecoder:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)
