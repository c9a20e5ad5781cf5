"""Unintended models adapted by being certain of single releases and varied over all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import (
    BATCH,
    ChannelMatch,
    NetworkAttack,
    batchnorms,
    final_linear,
    reestimate,
    require_classes,
)
from adversaries.threat import Level
from vfc.training import batch_indices

_LEAST_STEPS = 150


@ADVERSARIES.register("shot", goals=("task", "attribute"), order=125)
@dataclass(frozen=True, kw_only=True)
class Shot(Adversary):
    """An unintended model that makes itself certain on each unlabelled release, and varied over all of them (SHOT).

    Knows: unlabelled releases of its own pool, and its own clean images; no label, no pairing.
    Does: matches channel statistics to clean images and re-estimates BatchNorm statistics; then keeps the head and
    trains everything below it: the entropy of single predictions down, the entropy of a batch's mean prediction up,
    which keeps all releases from ending in one class. At last it re-estimates the statistics, so that a guess depends
    on no other graded release. The pseudo-labels of the paper are left out.
    Source: Liang, Hu, Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised
    Domain Adaptation", ICML 2020, arXiv 2002.08546.

    Args:
        model: name of the unintended model.
        lr: learning rate of Adam.
        diversity: weight of the entropy of the mean prediction.
        steps: optimizer steps; None for one pass over the pool, and 150 at least.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L1"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    lr: float = 1e-3
    diversity: float = 1.0
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Adapt; raises `NotApplicableError` for a model without BatchNorm or for another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        pool = view.unlabelled
        prepare = ChannelMatch.between(pool, view.images[0])
        x = prepare(pool)
        reestimate(model, x, generator)
        steps = (self.steps if self.steps is not None else max(_LEAST_STEPS, len(x) // BATCH)) * self.times
        zero = self._adapt(model, x, steps, generator)
        reestimate(model, x, generator)
        flags = frozenset({"ZERO_GRADIENT"}) if zero else frozenset[str]()
        return NetworkAttack(model=model, prepare=prepare, gradient_steps=steps, flags=flags)

    def doubled(self) -> Shot:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)

    def _adapt(self, model: nn.Module, x: Tensor, steps: int, generator: torch.Generator) -> bool:
        """Train in place; returns whether the first gradient was zero everywhere."""
        for parameter in final_linear(model).parameters():
            parameter.requires_grad_(False)
        chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
        device = chosen[0].device
        for layer in batchnorms(model):
            layer.train()
        optimizer = torch.optim.Adam(chosen, lr=self.lr)
        zero = False
        for step, rows in enumerate(batch_indices(len(x), BATCH, steps, generator)):
            logs = model(x[rows.to(x.device)].to(device)).float().log_softmax(1)
            mean = logs.exp().mean(0)
            certain = -(logs.exp() * logs).sum(1).mean()
            varied = -(mean * mean.clamp_min(1e-12).log()).sum()
            optimizer.zero_grad(set_to_none=True)
            (certain - self.diversity * varied).backward()
            if step == 0:
                zero = all(p.grad is None or not p.grad.any() for p in chosen)
            optimizer.step()
        return zero
