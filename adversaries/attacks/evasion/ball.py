"""How far an image may be moved: a ball around it, cut with the cube of images.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vfc.errors import UserError

_RELATIVE, _ABSOLUTE = 1e-5, 1e-6
"""How much rounding may carry a perturbation past its radius before it counts as outside."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A perturbation budget.

    Args:
        norm: `linf` (largest change of a value) or `l2` (Euclidean length over all values of the image).
        budget: the radius as the run writes it, a number or a fraction: `8/255`, `0.5`.
    """

    norm: str
    budget: str

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise UserError(f"expected a ball in linf or l2, got {self.norm!r}", "choose one of the two")
        _ = self.radius

    @property
    def radius(self) -> float:
        """The radius as a number, at least 0."""
        above, _, below = self.budget.partition("/")
        try:
            radius = float(above) / float(below or 1)
        except (ValueError, ZeroDivisionError) as error:
            raise UserError(
                f"expected a budget such as 8/255 or 0.5, got {self.budget!r}", "write a fraction or a decimal"
            ) from error
        if not 0 <= radius < float("inf"):
            raise UserError(f"expected a budget of at least 0, got {self.budget!r}", "raise it")
        return radius

    def lengths(self, change: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        """How long each change is in this norm, computed in double precision."""
        flat = change.double().flatten(1)
        return flat.abs().amax(1) if self.norm == "linf" else flat.square().sum(1).sqrt()

    def project(self, images: Float[Tensor, "n c h w"], moved: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The moved images brought into the ball and into [0, 1]; those already inside stay as they are."""
        change = moved - images
        if self.norm == "linf":
            change = change.clamp(-self.radius, self.radius)
        else:
            lengths = self.lengths(change).clamp(min=1e-12)
            change = change * (self.radius / lengths).clamp(max=1).to(change)[:, None, None, None]
        # Clamping to the cube, in which the image itself lies, brings no value farther from the image.
        return (images + change).clamp(0, 1)

    def holds(self, images: Float[Tensor, "n c h w"], moved: Float[Tensor, "n c h w"]) -> Bool[Tensor, " n"]:
        """Which moved images are finite, inside the ball (up to rounding) and inside [0, 1]."""
        finite = torch.isfinite(moved).flatten(1).all(1)
        inside = ((moved >= 0) & (moved <= 1)).flatten(1).all(1)
        near = self.lengths(moved - images) <= self.radius * (1 + _RELATIVE) + _ABSOLUTE
        return finite & inside & near
