"""Controllable invariance: an encoder trained against a reader of an attribute, through gradient reversal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import Training


class Reversal(torch.autograd.Function):
    """Passes values on as they are and gradients back times a negative factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        """The values."""
        ctx.factor = factor
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """The reversed gradient; the factor has none."""
        return -ctx.factor * gradients[0], None


@DEFENSES.register("ci", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class ControllableInvariance(SplitDefense):
    """Controllable invariance: the encoder makes a reader of an attribute as wrong as it can, by gradient reversal.

    Minimizes CE_task - gamma * CE_attribute over encoder and head, while the reader minimizes CE_attribute, all in one
    step. It publishes encoded images.

    Claims: the attribute cannot be read from the release, for readers like the one that it was trained against.
    Known breaks: a fresh reader, trained after the encoder has stopped, finds the attribute again (Elazar and Goldberg,
    2018, arXiv 1808.06640); other attributes and the image itself were never hidden.
    Cost: one more small network in training; publishing is the first part of the target.

    Args:
        attribute: the label to hide; None for the first of the data set that is not the task.
        weight: w of (1 - w) * CE_task - w * CE_attribute, in [0, 1]: gamma = w / (1 - w).
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Xie, Dai, Du, Hovy, Neubig, Controllable invariance through adversarial feature learning, 2017,
    arXiv 1705.11122.
    """

    attribute: str | None = None

    def turns(self, training: Training) -> list[Turn]:
        """Encoder, head and reader move together."""
        network, adversary, weight = training.network, training.attribute_reader(), self.weight

        def loss(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            task = cross_entropy(network.head(values), batch.labels)
            # The reader's own gradient is not weighted: only what flows back into the encoder is.
            read: Tensor = adversary(Reversal.apply(values, weight))
            return (1 - weight) * task + cross_entropy(read, batch.attribute)

        return [Turn(name="encoder and reader", learns=[network.encoder, network.head, adversary], loss=loss)]
