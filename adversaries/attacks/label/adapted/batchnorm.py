"""Unintended models with BatchNorm statistics of the releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import ChannelMatch, NetworkAttack, as_input, reestimate, require_classes
from adversaries.threat import Level


@ADVERSARIES.register("batchnorm", goals=("task", "attribute"), order=110)
@dataclass(frozen=True, kw_only=True)
class BatchNormStatistics(Adversary):
    """An unintended model whose BatchNorm statistics are re-estimated on unlabelled releases.

    Knows: unlabelled releases of its own pool, and its own clean images; no label, no pairing.
    Does: gives the release's channels the mean and deviation of clean images (zero padding makes an edge of any offset
    that is left), then replaces every running mean and variance by the average over batches of the pool. The
    statistics never see what is graded.
    Source: Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS
    2020, arXiv 2006.16971; Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016,
    arXiv 1603.04779.

    Args:
        model: name of the unintended model.
        match: whether channels are matched first; without, only running statistics change.
        batch: releases per batch.
    """

    level: ClassVar[Level] = "L1"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    match: bool = True
    batch: int = 256

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Re-estimate; raises `NotApplicableError` for a model without BatchNorm or for another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        prepare = ChannelMatch.between(view.unlabelled, view.images[0]) if self.match else as_input
        reestimate(model, prepare(view.unlabelled), generator, batch=self.batch)
        return NetworkAttack(model=model, prepare=prepare)
