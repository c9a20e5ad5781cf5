"""PriFU: channels that serve the task little are switched off while the network learns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.filter_unit import VERSIONS, FaithfulTo, filters_of, insert_filters
from vfc.core.turns import Batch, Pace, Turn, descent
from vfc.defense import DEFENSES, FitData
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import SplitNetwork, Training, task_turn
from vfc.defenses.support import require_choice, require_range

DECAY_IN_ALL = 20.0
"""Learning rate times decay, summed over the steps. The paper's settings on CIFAR-10 come to 2.6 over 62,000 steps; in
the hundreds of steps of small data the task moves the weights apart far less, and nothing would be switched off."""


class Switches(nn.Module):
    """Which channels of the release are left.

    Args:
        channels: of one encoded image.
    """

    on: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("on", torch.ones(channels, dtype=torch.bool))


@DEFENSES.register("prifu", sweep={"weight": (0.1, 0.3, 0.5)})
@dataclass(frozen=True, kw_only=True)
class PrivacyFilterUnits(SplitDefense):
    """PriFU: a filter after every normalization keeps the channels that the task needs, and zeroes the others for good.

    Every channel gets a weight. Those at or under a share of the largest weight of their layer become zero and never
    come back; decay pulls all of them down, and the task holds up those that it needs. No adversary and no attribute
    take part. It publishes encoded images, in which switched-off channels are zero.

    Claims: what the task does not need is not in the release. Known breaks: channels that serve the task carry other
    things, too, and a fresh reader reads those; which channels are zero is the same for all images, and public.
    Cost: one weight per channel; publishing is the first part of the target.

    Args:
        weight: the paper's alpha, the threshold as a share of the largest weight, in [0, 1); the paper has 0.1, the
            code 0.1 or 0.2; 0 for no filters.
        decay: the paper's beta, added to the gradient of a weight as beta times the weight; 1e-3 there, over 80
            epochs of CIFAR-10. None for one whose sum over the training, times the learning rate, is 20: our choice.
        faithful_to: paper, or code: there a bias is learned that is added after the filter, a weight at the threshold
            counts half, and identity shortcuts bypass the filters.
        lr: peak learning rate of plain gradient descent, for weights and network.
        layer, epochs, batch: where the target is cut and how it is trained, as with every split-point defense, but
            for twice as many epochs.

    Source: Bi et al., PriFU: capturing task-relevant information without adversarial learning, 2024 (ACM MM).
    """

    weight: float = 0.1
    lr: float = 0.1
    decay: float | None = None
    faithful_to: FaithfulTo = "paper"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("faithful_to", self.faithful_to, VERSIONS)
        if self.decay is not None:
            require_range("decay", self.decay, 0)

    def pace(self, shape: tuple[int, ...]) -> Pace:
        """Twice the epochs of the others: a channel has to fall behind before it is switched off."""
        pace = super().pace(shape)
        return pace if self.epochs else replace(pace, epochs=2 * pace.epochs)

    def prepared(self, model: nn.Module) -> nn.Module:
        """The target with filters in it, if there are any."""
        if self.private:
            insert_filters(model, self.weight, self.faithful_to)
        return model

    def plain(self, network: SplitNetwork) -> Turn:
        """Encoder and head by plain gradient descent, as with filters."""
        return task_turn(network, descent)

    def extra(self, features: tuple[int, ...]) -> nn.Module | None:
        """Room for what `settle` finds, if there are filters."""
        return Switches(features[0]) if self.private else None

    @torch.no_grad()
    def settle(self, network: SplitNetwork, data: FitData) -> None:
        """Note the channels that differ between the defender's images: the others were switched off."""
        if isinstance(network.extra, Switches):
            rows = torch.split(data.images, 512)
            values = torch.cat([network.encoder(images.to(network.device)) for images in rows])
            same = (values == values[:1]).transpose(0, 1).flatten(1).all(1)
            network.extra.on.copy_(~same)

    def encoded(
        self,
        network: SplitNetwork,
        x: Float[Tensor, "n c h w"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """Encoded images, and which channels are left in all of them."""
        mask = network.extra.on.expand(len(x), -1) if isinstance(network.extra, Switches) else None
        return network.encoder(x), mask

    def turns(self, training: Training) -> list[Turn]:
        """The whole network for the task, with decay on the filters' weights."""
        network = training.network
        filters = filters_of(network)
        # A warm-up and a cosine: half of the peak rate, on average.
        total = self.lr * training.steps / 2
        decay = DECAY_IN_ALL / total if self.decay is None else self.decay

        def loss(batch: Batch) -> Tensor:
            task = cross_entropy(network.head(network.encoder(batch.images)), batch.labels)
            # The gradient of this is decay times the weight.
            for unit in filters:
                task = task + decay / 2 * unit.weight.square().sum()
            return task

        def settle() -> None:
            for unit in filters:
                unit.settle()

        return [
            Turn(
                name="network",
                learns=[network.encoder, network.head],
                loss=loss,
                optimizer=descent,
                after_step=settle,
            )
        ]
