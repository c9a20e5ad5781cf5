"""A secret orthogonal mixing of all values of an image: a strawman.

Axes: n images, v = c * h * w values of one image, r rounds, k blocks of b values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.support import require_fitted, require_state
from vfc.release import Release

EXACT_VALUES = 1024
"""Up to this many values the mixing is one dense random rotation."""

BLOCK, ROUNDS = 64, 3
"""Beyond, it is three rounds of permutation and dense blocks: any value can then reach 64^3 > 200,000 others."""


@dataclass(frozen=True, kw_only=True)
class MixingKey:
    """An orthogonal map as rounds of permutation followed by dense orthogonal blocks.

    Args:
        permutations: one permutation of the values per round.
        blocks: orthogonal blocks per round; values beyond the last full block are only permuted in that round.
    """

    permutations: Int[Tensor, "r v"]
    blocks: Float[Tensor, "r k b b"]

    @classmethod
    def draw(cls, values: int, generator: torch.Generator) -> MixingKey:
        """A random key for images of that many values."""
        rounds, block = (1, values) if values <= EXACT_VALUES else (ROUNDS, BLOCK)
        device = generator.device
        permutations = [torch.randperm(values, generator=generator, device=device) for _ in range(rounds)]
        normal = torch.randn(rounds, values // block, block, block, generator=generator, device=device)
        # In double precision, so that the float32 result is orthogonal to rounding.
        basis, upper = torch.linalg.qr(normal.double())
        # Signs of R's diagonal make the distribution uniform over all orthogonal matrices (Mezzadri 2007).
        basis = basis * upper.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]
        return cls(permutations=torch.stack(permutations).cpu(), blocks=basis.float().cpu())

    def mix(self, flat: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Apply the map to every row."""
        for permutation, blocks in zip(self.permutations, self.blocks, strict=True):
            flat = _apply_blocks(flat[:, permutation.to(flat.device)], blocks)
        return flat

    def unmix(self, flat: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        """Apply the inverse, which is the transpose."""
        for permutation, blocks in zip(self.permutations.flip(0), self.blocks.flip(0), strict=True):
            flat = _apply_blocks(flat, blocks.transpose(1, 2))[:, permutation.argsort().to(flat.device)]
        return flat


def _apply_blocks(flat: Float[Tensor, "n v"], blocks: Float[Tensor, "k b b"]) -> Float[Tensor, "n v"]:
    count, block, _ = blocks.shape
    full = count * block
    pieces = flat[:, :full].reshape(len(flat), count, block)
    mixed = torch.einsum("nki,kij->nkj", pieces, blocks.to(flat))
    return torch.cat([mixed.reshape(len(flat), full), flat[:, full:]], dim=1)


@DEFENSES.register("orthogonal-mixing")
@dataclass(frozen=True, kw_only=True)
class OrthogonalMixing(Defense):
    """Strawman: all c*h*w values are rotated by one secret orthogonal matrix; the intended use rotates back.

    It removes nothing and keeps every distance and inner product, so nearest neighbors and linear probes read it as
    well as the image. Up to 1,024 values the matrix is uniform over all orthogonal matrices; beyond, it is three rounds
    of a random permutation and dense orthogonal blocks of 64, which is still orthogonal and mixes everything.

    An orthogonal matrix of v values has v (v - 1) / 2 degrees of freedom; 24 bits of a float32 for each of them are
    783,360 bits for 16x16 pixels, the number on the card.

    Threat model: attackers who lack the key. Known breaks: every learner that goes by distances or inner products
    scores as on the images; pairs find the rotation itself (`ridge-decoder`). Cost: one matrix product per image.

    Source: none; folklore (random rotation perturbation).
    """

    keyed: ClassVar[bool] = True
    secret: ClassVar[Mapping[str, object] | None] = {
        "kind": "symmetric",
        "what": "the rotation",
        "bits": 783360,
        "lifetime": "dataset",
    }

    fitted: MixingKey | None = field(default=None, repr=False, compare=False)

    def fit(self, data: FitData, generator: torch.Generator) -> OrthogonalMixing:
        """Draw the key for images of this size."""
        return self._replace(target=data.target, fitted=MixingKey.draw(data.images[0].numel(), generator))

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Rotated images; unbounded."""
        key = require_fitted(self.fitted, "orthogonal-mixing")
        return Release(values=key.mix(x.flatten(1)).reshape(x.shape))

    def unpublish(self, values: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The images, up to rounding, for whoever has the key."""
        key = require_fitted(self.fitted, "orthogonal-mixing")
        return key.unmix(values.flatten(1)).reshape(values.shape)

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the images."""
        return super().predict(self.unpublish(values))

    def state(self) -> dict[str, Tensor]:
        """The key."""
        key = require_fitted(self.fitted, "orthogonal-mixing")
        return {"permutations": key.permutations, "blocks": key.blocks}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> OrthogonalMixing:
        """The same key again."""
        key = MixingKey(permutations=require_state(state, "permutations"), blocks=require_state(state, "blocks"))
        return self._replace(target=target, fitted=key)
