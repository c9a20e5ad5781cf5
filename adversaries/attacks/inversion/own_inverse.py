"""The inverse that comes with a defense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.goals.reconstruction import ADVERSARIES, Reconstruction, Reconstructor
from adversaries.knowledge import Knowledge
from adversaries.threat import Level
from vfc.defense import Defense
from vfc.errors import NotApplicableError

_CHUNK = 256
_LARGEST = 10
"""Beyond it values are no pixels, whatever they were normalized by."""


@dataclass(frozen=True, kw_only=True)
class Inverse(Reconstruction):
    """What the defense itself makes of releases.

    Args:
        defense: has an inverse.
        shape: (c, h, w) of one image.
    """

    defense: Defense
    shape: tuple[int, ...]

    @torch.no_grad()
    def rebuild(
        self,
        release: Shaped[Tensor, "n ..."],
        prediction: Int[Tensor, " n"] | None,  # noqa: ARG002  (the defense's own inverse reads releases)
    ) -> Float[Tensor, "n c h w"]:
        """The inverse's images."""
        found = [self.defense.inverse(rows) for rows in torch.split(release, _CHUNK)]
        return torch.cat([_pixels(rows).reshape(-1, *self.shape) for rows in found if rows is not None])


@ADVERSARIES.register("own-inverse", goals=("reconstruction",), order=105)
@dataclass(frozen=True, kw_only=True)
class OwnInverse(Reconstructor):
    """The decoder or inverse that the defense brings along, as it is.

    Knows: the fitted defense.
    Does: hands releases to the defense's own `inverse`, which a module may have (`inverse(r) -> images`): what its
    authors published for those who are meant to see the image, or to break it.
    """

    level: ClassVar[Level] = "L4"
    learns_pairs: ClassVar[bool] = False

    def fit(self, view: Knowledge, generator: torch.Generator) -> Inverse:  # noqa: ARG002
        """Nothing is learned.

        Raises:
            NotApplicableError: the defense has no inverse, or not one to images of this shape.
            ValueError: what it gives are no pixels.
        """
        release, images = view.pairs
        with torch.no_grad():
            tried = view.defense.inverse(release[:2])
        if tried is None:
            raise NotApplicableError("the defense brings no inverse")
        if tried.numel() != images[:2].numel():
            raise NotApplicableError(
                f"its inverse gives {tuple(tried.shape[1:])}, images are {tuple(images.shape[1:])}"
            )
        _pixels(tried)
        return Inverse(defense=view.defense, shape=tuple(images.shape[1:]))


def _pixels(values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """Images in [0, 1]; bytes are scaled.

    Raises:
        ValueError: they are no pixels, so that a perfect inverse would look useless.
    """
    if values.dtype == torch.uint8:
        return values.float() / 255
    if not values.is_floating_point() or bool((values.abs() > _LARGEST).any()):
        low, high = float(values.min()), float(values.max())
        raise ValueError(f"the inverse gives {values.dtype} in [{low:g}, {high:g}]; images are bytes, or in [0, 1]")
    return values.float()
