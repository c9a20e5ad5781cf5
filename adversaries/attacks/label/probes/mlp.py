"""A multilayer perceptron from scratch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from adversaries.learning.networks import NetworkAttack, trained, training
from adversaries.threat import Level
from vfc.seeding import seeded


@ADVERSARIES.register("mlp", goals=("task", "attribute"), order=230, length={"least": 200, "epochs": 8})
@dataclass(frozen=True, kw_only=True)
class MultilayerPerceptron(Adversary):
    """A multilayer perceptron on the flattened, standardized release, trained from scratch.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: two hidden layers with BatchNorm and dropout, AdamW, fixed length.

    Args:
        width: units per hidden layer.
        dropout: share of hidden units dropped while training.
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
        steps: optimizer steps; None for at least 200 and at least 8 epochs of batches of 64.
        times: factor on the steps.
    """

    level: ClassVar[Level] = "L2"

    width: int = 256
    dropout: float = 0.3
    lr: float = 6e-3
    weight_decay: float = 1e-2
    steps: int | None = None
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> NetworkAttack:
        """Train."""
        release, y = view.labelled
        columns = Columns.fit(flat(view.unlabelled))

        def prepare(some: Tensor) -> Tensor:
            return columns(flat(some)).clamp(-10, 10)

        x = prepare(release)
        net = seeded(lambda: self.network(x.shape[1], view.num_classes), generator).to(release.device)
        settings = training(len(y), 0, steps=self.steps, times=self.times, lr=self.lr, weight_decay=self.weight_decay)
        return trained(net, prepare, (release, y), settings, generator)

    def doubled(self) -> MultilayerPerceptron:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)

    def network(self, columns: int, classes: int) -> nn.Module:
        """A fresh network for so many columns."""
        layers: list[nn.Module] = []
        for size in (columns, self.width):
            layers += [nn.Linear(size, self.width), nn.BatchNorm1d(self.width), nn.ReLU(), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, nn.Linear(self.width, classes))
