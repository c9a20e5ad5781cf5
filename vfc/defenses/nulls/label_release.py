"""The target's predicted class as an image: a strawman."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.support import require_fitted, require_state
from vfc.release import Release
from vfc.training import predict_logits


@DEFENSES.register("label-release")
@dataclass(frozen=True, kw_only=True)
class LabelRelease(Defense):
    """Strawman: publishes the target's predicted class, as one of `num_classes` fixed noise images.

    The intended use looks the class up. It wins every suppression ratio against frozen models, and tells anyone with
    one labelled release per class as much as it tells the target; beyond the predicted class it releases nothing.

    Threat model: none is claimed; a control. Known breaks: one labelled release per class. Cost: one forward pass of
    the target per image; every other use of the image.

    Source: none; a control.
    """

    fitted: Float[Tensor, "classes c h w"] | None = field(default=None, repr=False, compare=False)

    def fit(self, data: FitData, generator: torch.Generator) -> LabelRelease:
        """Draw the code book: one uniform noise image in [0, 1] for every class."""
        shape = (data.num_classes, *data.images.shape[1:])
        book = torch.rand(shape, generator=generator, device=generator.device)
        return self._replace(target=data.target, fitted=book.cpu())

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:  # noqa: ARG002
        """The code images of the classes that the target predicts."""
        book = require_fitted(self.fitted, "label-release")
        classes = predict_logits(require_fitted(self.target, "label-release"), x).argmax(1)
        return Release(values=book[classes].to(x), bounds=(0.0, 1.0))

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """Logits that are largest for the nearest code image: minus the Euclidean distance to each."""
        book = require_fitted(self.fitted, "label-release").to(values)
        return -torch.cdist(values.flatten(1), book.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")

    def state(self) -> dict[str, Tensor]:
        """The code book."""
        return {"book": require_fitted(self.fitted, "label-release")}

    def with_state(self, state: Mapping[str, Tensor], target: nn.Module) -> LabelRelease:
        """The same code book again."""
        return self._replace(target=target, fitted=require_state(state, "book"))
