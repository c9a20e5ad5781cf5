"""An affine subspace of images, and what is published of an image's shadow in it.

Axes: n images, d values of one image, k directions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.defenses.support import require_range, require_state

FORMS = ("image", "vector")


@dataclass(frozen=True, kw_only=True)
class Subspace:
    """An affine subspace.

    Args:
        mean: a point of it, flattened.
        basis: orthonormal rows.
        shape: (c, h, w) of one image.
    """

    mean: Float[Tensor, " d"]
    basis: Float[Tensor, "k d"]
    shape: tuple[int, ...]

    def coordinates(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Coordinates of images along the basis."""
        return (x.flatten(1) - self.mean.to(x)) @ self.basis.to(x).T

    def images(self, coordinates: Float[Tensor, "n k"]) -> Float[Tensor, "n c h w"]:
        """The images at some coordinates."""
        flat = self.mean.to(coordinates) + coordinates @ self.basis.to(coordinates)
        return flat.reshape(-1, *self.shape)

    def published(self, x: Float[Tensor, "n c h w"], form: str) -> Float[Tensor, "n ..."]:
        """The nearest images of the subspace, or their coordinates."""
        found = self.coordinates(x)
        return found if form == "vector" else self.images(found)

    def read(self, values: Float[Tensor, "n ..."], form: str) -> Float[Tensor, "n c h w"]:
        """The images that published values stand for."""
        return self.images(values) if form == "vector" else values

    def state(self) -> dict[str, Tensor]:
        """As tensors."""
        return {"mean": self.mean, "basis": self.basis, "shape": torch.tensor(self.shape)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Subspace:
        """The same again; raises `UserError` when something is missing."""
        shape = tuple(require_state(state, "shape").tolist())
        return cls(mean=require_state(state, "mean").cpu(), basis=require_state(state, "basis").cpu(), shape=shape)


def require_keep(keep: float | int) -> None:
    """Raise `UserError` unless `keep` is a share in (0, 1] or a count from 1 on."""
    if isinstance(keep, int):
        require_range("keep", keep, 1)
    else:
        require_range("keep", keep, 0, 1, above=True)


def count_of(keep: float | int, available: int) -> int:
    """How many directions a share or a count keeps, at least 1 and at most all."""
    wanted = keep if isinstance(keep, int) else round(keep * available)
    return min(max(1, wanted), available)
