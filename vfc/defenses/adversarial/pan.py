"""PAN: an encoder trained against a network that rebuilds the image and one that reads an attribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import Training
from vfc.defenses.support import require_range


@DEFENSES.register("pan", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class PrivacyAdversary(SplitDefense):
    """PAN: RAN with a second adversary, which reads an attribute.

    By turns the rebuilder minimizes its mean squared error and the reader its cross-entropy, and encoder and head
    minimize (1 - w) * CE_task - w * ((1 - u) * MSE + u * CE_attribute). It publishes encoded images.

    Claims: neither image nor attribute can be found in the release, by networks like those that it was trained against.
    Known breaks: fresh networks trained afterwards. Cost: two more networks and two forward passes in training.

    Args:
        attribute: the label to hide; None for the first of the data set that is not the task.
        share: u above, in [0, 1]: how much of the privacy term is about the attribute; 1/2 is our choice.
        weight: w above, in [0, 1].
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Liu, Du, Shrivastava, Zhong, Privacy adversarial network: representation learning for mobile data privacy,
    2019, arXiv 2006.06535.
    """

    attribute: str | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("share", self.share, 0, 1)

    def turns(self, training: Training) -> list[Turn]:
        """First both adversaries, then encoder and head."""
        network, rebuilder, adversary = training.network, training.rebuilder(), training.attribute_reader()
        weight, share = self.weight, self.share

        def found(values: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
            return mse_loss(rebuilder(values), batch.images), cross_entropy(adversary(values), batch.attribute)

        def finding(batch: Batch) -> Tensor:
            with torch.no_grad():
                values = network.encoder(batch.images)
            image, attribute = found(values, batch)
            return image + attribute

        def hiding(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            task = cross_entropy(network.head(values), batch.labels)
            image, attribute = found(values, batch)
            return (1 - weight) * task - weight * ((1 - share) * image + share * attribute)

        return [
            Turn(name="adversaries", learns=[rebuilder, adversary], loss=finding),
            Turn(name="encoder", learns=[network.encoder, network.head], loss=hiding),
        ]
