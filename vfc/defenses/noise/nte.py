"""Noise that the target's first layer does not hear (NTE)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.noise.first_layer import FirstLayer, first_outputs
from vfc.defenses.support import require_fitted, require_range, require_state
from vfc.errors import NotApplicableError
from vfc.release import Release

_EXACT = 1e-6
"""Gains up to this share of the largest count as none: they are what rounding leaves of zero."""


@dataclass(frozen=True, kw_only=True)
class UnheardSpace:
    """Where the noise goes.

    Args:
        basis: orthonormal rows, flattened images.
        change: root mean square change of the first layer's outputs by the noise, as a share of their deviation over
            the defender's images.
    """

    basis: Float[Tensor, "q d"]
    change: float


@DEFENSES.register("nte", sweep={"noise": (0.1, 0.5, 1.0)})
@dataclass(frozen=True, kw_only=True)
class NullSpaceNoise(Defense):
    """Adds Gaussian noise in the null space of the target's first linear or convolutional layer.

    The target computes what it would on the image, to rounding, however large the noise. That needs a layer with a
    null space: a perceptron with fewer units than pixels, or an embedding of wide patches. A stem of small convolutions
    reads every direction of an image, and then this is not applicable, unless `near_null` allows directions that the
    layer hardly reads; `change` says what that does to it.

    Threat model: attackers without the target's first layer; the paper claims to hold under adaptive reconstruction.
    Known breaks: the noise never leaves one subspace, which a few dozen pairs show (`noise-projection`, and every
    linear decoder); what remains is the image's projection onto the rows of the layer, noiseless, so every probe that
    is trained on releases reads what the target reads.
    Cost: one eigendecomposition of a matrix as large as an image has values; one matrix product per image.

    Args:
        noise: root mean square of the noise over all values, in units of the image's range; .5 is a PSNR of 6 dB.
        near_null: directions whose gain is at most this share of the largest gain take noise too; 0 for exact ones
            only, below 1. Ours.

    Source: the idea of arXiv 2510.10982, 2025, which our copy of the literature names without its settings; level and
    law of the noise are ours.
    """

    stochastic: ClassVar[bool] = True

    noise: float = 0.5
    near_null: float = 0.0
    fitted: UnheardSpace | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_range("noise", self.noise, 0)
        require_range("near_null", self.near_null, 0, 0.999)

    @property
    def change(self) -> float:
        """How much the noise moves the first layer, as a share of what images move it by; 0 means not at all."""
        return require_fitted(self.fitted, "nte").change

    def fit(self, data: FitData, generator: torch.Generator) -> NullSpaceNoise:
        """Find the space.

        Raises:
            NotApplicableError: the first layer reads every direction of an image.
        """
        layer = FirstLayer.of(data.target, tuple(data.images.shape[1:]))
        unheard = layer.gains <= max(self.near_null, _EXACT) * layer.gains[0]
        if not bool(unheard.any()):
            low = float(layer.gains[-1] / layer.gains[0])
            raise NotApplicableError(
                f"the target's first layer reads all {len(unheard)} directions of an image (the faintest with "
                f"{low:.2g} of the largest gain), so it has no null space; near_null above that allows it"
            )
        space = UnheardSpace(basis=layer.directions[unheard].float().cpu(), change=0.0)
        found = self._replace(target=data.target, fitted=space)
        return found._replace(fitted=UnheardSpace(basis=space.basis, change=found._measured(data, generator)))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Noisy images; unbounded."""
        basis = require_fitted(self.fitted, "nte").basis
        directions, values = basis.shape
        draw = torch.randn(len(x), directions, generator=generator, device=generator.device).to(x)
        scale = self.noise * (values / directions) ** 0.5
        return Release(values=x + scale * (draw @ basis.to(x)).reshape(x.shape))

    def state(self) -> dict[str, Tensor]:
        """The space, and how much noise in it moves the first layer."""
        space = require_fitted(self.fitted, "nte")
        return {"basis": space.basis, "change": torch.tensor(space.change, dtype=torch.float64)}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> NullSpaceNoise:
        """The same space again."""
        basis, change = require_state(state, "basis").cpu(), float(require_state(state, "change"))
        return self._replace(target=target, fitted=UnheardSpace(basis=basis, change=change))

    @torch.no_grad()
    def _measured(self, data: FitData, generator: torch.Generator) -> float:
        """The change on at most 256 of the defender's images."""
        layer, x = first_outputs(data.target), data.images[:256]
        before, after = layer(x), layer(self.publish(x, generator).values)
        deviation = before.std(0, correction=0).square().mean().sqrt().clamp_min(1e-30)
        return float((after - before).square().mean().sqrt() / deviation)
