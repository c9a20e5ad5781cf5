"""DISCO: a filter that decides for every image which channels of its encoding are published.

Axes: n images, c channels of one encoded image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.split import values_in
from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import SplitNetwork, Training, reader
from vfc.defenses.support import require_fitted, require_range

TEMPERATURE = 1 / 30
"""How soft the filter is in training: the paper's tau."""


class ChannelFilter(nn.Module):
    """Scores the channels of an encoded image, and keeps those above a quantile of its own scores.

    Args:
        features: shape of one encoded image.
        pruned: share of the channels that are not kept.
        normalized: give every channel's scores mean 0 and variance 1 over the images.
    """

    def __init__(self, features: tuple[int, ...], pruned: float, *, normalized: bool) -> None:
        super().__init__()
        self.pruned = pruned
        channels = features[0]
        between = nn.BatchNorm1d(channels, affine=False) if normalized else nn.Identity()
        self.scorer = nn.Sequential(reader(values_in(features), channels), between, nn.Sigmoid())

    def scores(self, values: Float[Tensor, "n c ..."]) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n 1"]]:
        """The score of every channel in [0, 1], and the quantile that it must be above."""
        scores = self.scorer(values)
        return scores, torch.quantile(scores, self.pruned, dim=1, keepdim=True)

    def soft(self, values: Float[Tensor, "n c ..."]) -> Float[Tensor, "n c"]:
        """The mask of the training, in (0, 1): sigmoid((score - quantile) / tau)."""
        scores, cut = self.scores(values)
        return torch.sigmoid((scores - cut) / TEMPERATURE)

    def hard(self, values: Float[Tensor, "n c ..."]) -> Bool[Tensor, "n c"]:
        """The mask of publishing."""
        scores, cut = self.scores(values)
        return scores > cut


def masked(values: Float[Tensor, "n c ..."], mask: Tensor) -> Float[Tensor, "n c ..."]:
    """Every channel times its mask."""
    return values * mask.to(values).reshape(*mask.shape, *[1] * (values.ndim - 2))


@DEFENSES.register("disco", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class DynamicChannelObfuscation(SplitDefense):
    """DISCO: a learned filter drops channels of every encoded image, chosen for that image.

    By turns a reader of the attribute minimizes its cross-entropy on what is left, encoder and head that of the task,
    and the filter (1 - w) * CE_task - w * CE_attribute. In training the filter is soft; published channels are kept or
    zero, and the release says which.

    Claims: the attribute cannot be read from the channels that are left, nor the image rebuilt. Known breaks: fresh
    readers trained afterwards; the positions of the dropped channels depend on the image and tell of it (Hoefler,
    2026). Cost: two more small networks and three forward passes in training; publishing also runs the filter.

    Args:
        attribute: the label to hide; None for the first of the data set that is not the task.
        pruned: share of the channels that are dropped, in [0, 1); 0 for no filter.
        normalized: compare a channel's score with its own over the images before it is compared with the other
            channels': our choice. Without it the filter soon drops the same channels of all images.
        weight: w above, in [0, 1]; the paper's alpha. At 0 the filter serves the task alone, and still drops channels.
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Singh, Chopra, Sharma, Garza, Zhang, Vepakomma, Raskar, DISCO: dynamic and invariant sensitive channel
    obfuscation for deep neural networks, 2021, arXiv 2012.11025.
    """

    attribute: str | None = None
    pruned: float = 0.5
    normalized: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("pruned", self.pruned, 0, 1)
        if self.pruned == 1:
            require_range("pruned", self.pruned, 0, 0.99)

    @property
    def private(self) -> bool:
        """Whether there is a filter."""
        return self.pruned > 0

    def extra(self, features: tuple[int, ...]) -> nn.Module | None:
        """The filter, if there is one."""
        return ChannelFilter(features, self.pruned, normalized=self.normalized) if self.private else None

    def turns(self, training: Training) -> list[Turn]:
        """First the reader, then encoder and head, then the filter."""
        network, adversary, weight = training.network, training.attribute_reader(), self.weight
        chooser = require_fitted(network.extra, "disco")
        if not isinstance(chooser, ChannelFilter):
            raise ValueError("expected a filter")

        def left(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            return masked(values, chooser.soft(values))

        def reading(batch: Batch) -> Tensor:
            with torch.no_grad():
                values = left(batch)
            return cross_entropy(adversary(values), batch.attribute)

        def serving(batch: Batch) -> Tensor:
            return cross_entropy(network.head(left(batch)), batch.labels)

        def choosing(batch: Batch) -> Tensor:
            values = left(batch)
            task, read = cross_entropy(network.head(values), batch.labels), adversary(values)
            return (1 - weight) * task - weight * cross_entropy(read, batch.attribute)

        return [
            Turn(name="attribute reader", learns=[adversary], loss=reading),
            Turn(name="encoder", learns=[network.encoder, network.head], loss=serving),
            Turn(name="filter", learns=[chooser], loss=choosing),
        ]

    def encoded(
        self,
        network: SplitNetwork,
        x: Float[Tensor, "n c h w"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """What is left of encoded images, and which channels those are."""
        values = network.encoder(x)
        if not isinstance(network.extra, ChannelFilter):
            return values, None
        mask = network.extra.hard(values)
        return masked(values, mask), mask

    def undefended(self) -> DynamicChannelObfuscation:
        """The same network without a filter, unfitted."""
        return self._replace(pruned=0.0, weight=0.0, fitted=None, target=None)
