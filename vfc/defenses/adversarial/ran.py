"""RAN: an encoder trained against a network that rebuilds the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import Training


@DEFENSES.register("ran", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class ReconstructiveAdversary(SplitDefense):
    """RAN: the encoder makes a network that rebuilds images from the release fail.

    By turns the rebuilder minimizes its mean squared error, and encoder and head minimize
    (1 - w) * CE_task - w * MSE. It publishes encoded images.

    Claims: images cannot be rebuilt from the release, by decoders like the one it was trained against. Known breaks: a
    fresh decoder trained on pairs; attributes were never hidden. The error is a sum over pixels that the encoder can
    raise cheaply, by wrong means that any fresh decoder corrects.
    Cost: a decoder and a second forward pass in training.

    Args:
        weight: w above, in [0, 1]; the paper's lambda is 1 - w.
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Liu, Shrivastava, Du, Zhong, Better accuracy with quantified privacy: representations learned via
    reconstructive adversarial network, 2019, arXiv 1901.08730.
    """

    def turns(self, training: Training) -> list[Turn]:
        """First the rebuilder, then encoder and head."""
        network, rebuilder, weight = training.network, training.rebuilder(), self.weight

        def rebuilding(batch: Batch) -> Tensor:
            with torch.no_grad():
                values = network.encoder(batch.images)
            return mse_loss(rebuilder(values), batch.images)

        def hiding(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            task = cross_entropy(network.head(values), batch.labels)
            return (1 - weight) * task - weight * mse_loss(rebuilder(values), batch.images)

        return [
            Turn(name="rebuilder", learns=[rebuilder], loss=rebuilding),
            Turn(name="encoder", learns=[network.encoder, network.head], loss=hiding),
        ]
