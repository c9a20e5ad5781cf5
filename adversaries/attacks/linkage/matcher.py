"""Learned matching of releases with images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from adversaries.goals.gallery import squared_distances
from adversaries.goals.matching import ADVERSARIES, Matcher, Matching
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.ridge_map import RidgeMap
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_MEASURED = 500
MEASURES = ("direction", "nearest")
"""How two embeddings are compared: by cosine, or by Euclidean distance."""


@dataclass(frozen=True, kw_only=True)
class LearnedMatching(Matching):
    """Compares embeddings of both sides.

    Args:
        of_release, of_gallery: to embeddings of one length.
        measure: how those are compared.
    """

    of_release: Callable[[Tensor], Tensor]
    of_gallery: Callable[[Tensor], Tensor]
    measure: str

    def scores(self, release: Shaped[Tensor, "n ..."], gallery: Float[Tensor, "g c h w"]) -> Float[Tensor, "n g"]:
        """Cosines or negative distances."""
        return compared(self.of_release(release), self.of_gallery(gallery), self.measure)


@ADVERSARIES.register(
    "matcher",
    goals=("match:image", "match:release"),
    variants=({"form": "decode"}, {"form": "encode"}, {"form": "raw"}),
    order=10,
)
@dataclass(frozen=True, kw_only=True)
class LearnedMatcher(Matcher):
    """Learns to bring releases and images into one space and compares them there.

    Knows: pairs of its own of whatever is matched.
    Does: `decode` predicts the image from the release, `encode` the release from the image, both by kernel ridge
    regression, which finds secret permutations and rotations by known plaintext; `raw` compares the values as they are,
    for two releases of one image. Cosine or distance: whichever finds more of its own pairs among themselves, each
    predicted by a regression fitted without it.

    Args:
        form: decode, encode or raw.
    """

    level: ClassVar[Level] = "L3"

    form: Literal["decode", "encode", "raw"] = "decode"

    def fit(self, view: Knowledge, generator: torch.Generator) -> LearnedMatching:  # noqa: ARG002
        """Solve; closed form, no randomness."""
        release, images = view.pairs
        read, look = Columns.fit(flat(release)), Columns.fit(flat(images))

        def of_release(rows: Tensor) -> Tensor:
            return read(flat(rows)).clamp(-10, 10)

        def of_gallery(rows: Tensor) -> Tensor:
            return look(flat(rows)).clamp(-10, 10)

        x, y = of_release(release), of_gallery(images)
        if self.form == "raw":
            if x.shape[1] != y.shape[1]:
                raise NotApplicableError("the two sides have different numbers of values, so they cannot be compared")
            return LearnedMatching(of_release=of_release, of_gallery=of_gallery, measure=_measure(x, y))
        if self.form == "decode":
            decode = RidgeMap.fit(of_release, x, y)
            return LearnedMatching(of_release=decode, of_gallery=of_gallery, measure=_measure(decode.left_out(y), y))
        encode = RidgeMap.fit(of_gallery, y, x)
        return LearnedMatching(of_release=of_release, of_gallery=encode, measure=_measure(x, encode.left_out(x)))


def compared(a: Float[Tensor, "n d"], b: Float[Tensor, "g d"], measure: str) -> Float[Tensor, "n g"]:
    """Cosines, or negative mean squared differences."""
    if measure == "direction":
        return nn.functional.normalize(a.double(), dim=1) @ nn.functional.normalize(b.double(), dim=1).T
    return -squared_distances(a.double(), b.double()) / max(1, a.shape[1])


def _measure(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"]) -> str:
    """The measure that finds more pairs among the attacker's own."""
    a, b = a[:_MEASURED], b[:_MEASURED]
    own = torch.arange(len(a), device=a.device)
    found = {measure: float((compared(a, b, measure).argmax(1) == own).double().mean()) for measure in MEASURES}
    return max(MEASURES, key=lambda measure: found[measure])
