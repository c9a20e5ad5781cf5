"""A secret permutation of pixel positions: a strawman."""

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


@DEFENSES.register("pixel-permutation")
@dataclass(frozen=True, kw_only=True)
class PixelPermutation(Defense):
    """Strawman: pixel positions are permuted by one secret key, the same for every image and channel.

    The intended use permutes them back. It removes nothing: a model that ignores positions, or learns them, reads it.

    The secret has log2((h w)!) bits: 1,684 for 16x16 pixels, the number on the card.

    Threat model: attackers who lack the key. Known breaks: every probe that does not care where a pixel is, from the
    first labels on; pairs find the key itself (`ridge-decoder`). Cost: none.

    Source: none; folklore (block scrambling and its kin).
    """

    keyed: ClassVar[bool] = True
    secret: ClassVar[Mapping[str, object] | None] = {
        "kind": "symmetric",
        "what": "the permutation of the pixels",
        "bits": 1684,
        "lifetime": "dataset",
    }

    fitted: Int[Tensor, " pixels"] | None = field(default=None, repr=False, compare=False)

    def fit(self, data: FitData, generator: torch.Generator) -> PixelPermutation:
        """Draw the key for images of this size."""
        pixels = data.images[0, 0].numel()
        key = torch.randperm(pixels, generator=generator, device=generator.device)
        return self._replace(target=data.target, fitted=key.cpu())

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """Permuted images."""
        key = require_fitted(self.fitted, "pixel-permutation").to(x.device)
        return Release(values=x.flatten(2)[:, :, key].reshape(x.shape), bounds=(0.0, 1.0))

    def unpublish(self, values: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The images, exactly, for whoever has the key."""
        inverse = require_fitted(self.fitted, "pixel-permutation").argsort().to(values.device)
        return values.flatten(2)[:, :, inverse].reshape(values.shape)

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """The target's logits on the images."""
        return super().predict(self.unpublish(values))

    def state(self) -> dict[str, Tensor]:
        """The key."""
        return {"key": require_fitted(self.fitted, "pixel-permutation")}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> PixelPermutation:
        """The same key again."""
        return self._replace(target=target, fitted=require_state(state, "key"))
