"""Unintended models with BatchNorm statistics of the releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.kernels import as_float
from adversaries.networks import NetworkAttack, reestimate, require_classes
from adversaries.world import View


@ADVERSARIES.register("batchnorm")
@dataclass(frozen=True, kw_only=True)
class BatchNormStatistics(Adversary):
    """An unintended model whose BatchNorm statistics are re-estimated on unlabelled releases.

    Knows: unlabelled releases of its own pool; no label.
    Does: replaces every running mean and variance by the average over batches of the pool; nothing else changes, and
    the statistics never see what is graded.
    Source: Schneider et al., "Improving robustness against common corruptions by covariate shift adaptation", NeurIPS
    2020, arXiv 2006.16971; Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016,
    arXiv 1603.04779.

    Args:
        model: name of the unintended model.
        batch: releases per batch.
    """

    level: ClassVar[str] = "L1"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    batch: int = 256

    def fit(self, view: View, generator: torch.Generator) -> NetworkAttack:
        """Re-estimate; raises `NotApplicableError` for a model without BatchNorm or for another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        reestimate(model, as_float(view.unlabelled), generator, batch=self.batch)
        return NetworkAttack(model=model, prepare=as_float)
