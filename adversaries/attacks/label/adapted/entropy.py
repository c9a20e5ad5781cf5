"""Unintended models adapted by entropy minimization."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.networks import BATCH, ChannelMatch, NetworkAttack, batchnorms, reestimate, require_classes
from adversaries.threat import Level
from vfc.training import batch_indices

_LEAST_STEPS = 150


@ADVERSARIES.register("entropy", goals=("task", "attribute"), order=120)
@dataclass(frozen=True, kw_only=True)
class Entropy(Adversary):
    """An unintended model that makes itself certain on unlabelled releases (TENT).

    Knows: unlabelled releases of its own pool, and its own clean images; no label, no pairing.
    Does: matches channel statistics to clean images; from re-estimated BatchNorm statistics on, minimizes the entropy
    of its predictions over the affine BatchNorm parameters alone, with batch statistics; then re-estimates the
    statistics once more, so that a guess depends on no other graded release. Adam at 5e-3 instead of the paper's 1e-3,
    because a release is farther away than a corruption.
    Source: Wang, Shelhamer, Liu, Olshausen, Darrell, "Tent: Fully Test-Time Adaptation by Entropy Minimization",
    ICLR 2021, arXiv 2006.10726.

    Args:
        model: name of the unintended model.
        lr: learning rate of Adam.
        steps: optimizer steps; None for one pass over the pool, and 150 at least.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L1"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True
    trains_on_labels: ClassVar[bool] = False

    model: str
    lr: float = 5e-3
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Adapt; raises `NotApplicableError` for a model without affine BatchNorm or for another label."""
        model = view.model(self.model)
        require_classes(model, view.num_classes)
        prepare = ChannelMatch.between(view.unlabelled, view.images[0])
        x = prepare(view.unlabelled)
        reestimate(model, x, generator)
        layers = batchnorms(model)
        chosen = [p for layer in layers for p in (layer.weight, layer.bias) if isinstance(p, nn.Parameter)]
        steps = (self.steps if self.steps is not None else max(_LEAST_STEPS, len(x) // BATCH)) * self.times
        zero = _minimize_entropy(model, layers, chosen, x, steps, self.lr, generator) if chosen else True
        reestimate(model, x, generator)
        flags = frozenset({"ZERO_GRADIENT"}) if zero else frozenset[str]()
        return NetworkAttack(model=model, prepare=prepare, gradient_steps=steps, flags=flags)

    def doubled(self) -> Entropy:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)


def _minimize_entropy(
    model: nn.Module,
    layers: list[nn.modules.batchnorm._BatchNorm],
    chosen: list[nn.Parameter],
    x: Tensor,
    steps: int,
    lr: float,
    generator: torch.Generator,
) -> bool:
    """Adapt in place; returns whether the first gradient was zero everywhere."""
    device = chosen[0].device
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    for layer in layers:
        layer.train()
    optimizer = torch.optim.Adam(chosen, lr=lr)
    zero = False
    for step, rows in enumerate(batch_indices(len(x), BATCH, steps, generator)):
        logs = model(x[rows.to(x.device)].to(device)).float().log_softmax(1)
        loss = -(logs.exp() * logs).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if step == 0:
            zero = all(p.grad is None or not p.grad.any() for p in chosen)
        optimizer.step()
    return zero
