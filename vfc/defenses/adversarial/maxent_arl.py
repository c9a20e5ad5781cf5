"""MaxEnt-ARL: an encoder that leaves a reader of an attribute as uncertain as can be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import Training


def entropy(logits: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Entropy of softmax(logits) in nats, from 0 to log k."""
    logarithms = log_softmax(logits, dim=1)
    return -(logarithms.exp() * logarithms).sum(1)


@DEFENSES.register("maxent-arl", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class MaximumEntropy(SplitDefense):
    """MaxEnt-ARL: the encoder maximizes the entropy of what a reader of an attribute answers.

    By turns the reader minimizes its cross-entropy, and encoder and head minimize (1 - w) * CE_task - w * entropy of
    the reader's answer: certainty for the wrong class, which a reader could turn round, does not pay.

    Claims: a reader of the attribute can do no better than guess. Known breaks: a fresh reader trained afterwards;
    censored representations mapped back to uncensored ones (Song and Shmatikov, 2020, arXiv 1905.11742).
    Cost: one more small network and a second forward pass in training.

    Args:
        attribute: the label to hide; None for the first of the data set that is not the task.
        weight: w above, in [0, 1]; the paper's alpha.
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Roy and Boddeti, Mitigating information leakage in image representations: a maximum entropy approach, 2019,
    arXiv 1904.05514.
    """

    attribute: str | None = None

    def turns(self, training: Training) -> list[Turn]:
        """First the reader, then encoder and head."""
        network, adversary, weight = training.network, training.attribute_reader(), self.weight

        def reading(batch: Batch) -> Tensor:
            with torch.no_grad():
                values = network.encoder(batch.images)
            return cross_entropy(adversary(values), batch.attribute)

        def hiding(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            task = cross_entropy(network.head(values), batch.labels)
            return (1 - weight) * task - weight * entropy(adversary(values)).mean()

        return [
            Turn(name="attribute reader", learns=[adversary], loss=reading),
            Turn(name="encoder", learns=[network.encoder, network.head], loss=hiding),
        ]
