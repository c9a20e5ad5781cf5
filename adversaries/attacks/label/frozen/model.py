"""Unintended models read the release as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import NetworkAttack, as_input, require_classes
from adversaries.threat import Level


@ADVERSARIES.register("frozen", goals=("task", "attribute"), order=10)
@dataclass(frozen=True, kw_only=True)
class Frozen(Adversary):
    """An unintended model, trained on clean images, reads the release as it is.

    Knows: its own clean images and the models trained on them; nothing of the releases.
    Does: nothing to the release (what is not finite becomes 0). This is what the published evaluations measure.
    Source: the evaluation of Guo et al., "Variational Feature Compression", 2026, arXiv 2604.06644.

    Args:
        model: name of the unintended model.
    """

    level: ClassVar[Level] = "L0"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:  # noqa: ARG002
        """Take the model as it is; raises `NotApplicableError` if it predicts another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        return NetworkAttack(model=model, prepare=as_input)
