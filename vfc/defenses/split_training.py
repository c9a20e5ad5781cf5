"""What split-point defenses train: the network that is cut, the attribute that is hidden, and the opponents.

Axes: n images, c channels, h and w pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.decoder import Decoder
from vfc.core.split import SplitAt, shape_after, values_in
from vfc.core.turns import Turn, adamw
from vfc.defense import FitData
from vfc.errors import UserError
from vfc.seeding import seeded

_HIDDEN = 128
"""Units between the release and the answer of networks that defenders train against."""


class SplitNetwork(nn.Module):
    """What a split-point defense has after its fit.

    Args:
        model: a network of its own, which is cut.
        layer: where.
        shape: (c, h, w) of one image.
        extra: makes what publishing needs beside the encoder, from the shape of one encoded image.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        shape: tuple[int, ...],
        extra: Callable[[tuple[int, ...]], nn.Module | None],
    ) -> None:
        super().__init__()
        parts = SplitAt(model, layer)
        self.shape, self.encoder, self.head = tuple(shape), parts.encoder, parts.head
        self.features = shape_after(self.encoder, self.shape)
        self.extra = extra(self.features)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A label that is to be hidden.

    Args:
        name: of the label.
        labels: the defender's own, one per training image.
        classes: how many there are.
    """

    name: str
    labels: Int[Tensor, " n"]
    classes: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: what the players of a defense are made of.

    Args:
        network: what is trained and kept.
        data: the defender's.
        steps: how many there will be.
        generator: the only source of randomness.
        attribute: what is to be hidden; None for a defense that hides no particular label.
        opponents: what is trained beside and not kept, by name.
    """

    network: SplitNetwork
    data: FitData
    steps: int
    generator: torch.Generator
    attribute: Attribute | None = None
    opponents: dict[str, nn.Module] = field(default_factory=dict)

    def opponent(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """A new network with weights from the generator, on the device of the training."""
        made = seeded(make, self.generator).to(self.network.device)
        self.opponents[name] = made
        return made

    def attribute_reader(self) -> nn.Module:
        """A new adversary that reads the attribute from encoded images."""
        if self.attribute is None:
            raise ValueError("expected an attribute")
        classes = self.attribute.classes
        return self.opponent("attribute", lambda: reader(values_in(self.network.features), classes))

    def rebuilder(self) -> nn.Module:
        """A new adversary that rebuilds images from encoded ones."""
        c, h, w = self.network.shape
        values = values_in(self.network.features)
        return self.opponent(
            "image", lambda: nn.Sequential(nn.Flatten(), Decoder((c, h, w), values, "transposed", "sigmoid", 16))
        )

    def noise(self, like: Tensor) -> Tensor:
        """Standard normal noise in the shape of some values."""
        return noise_like(like, self.generator)


def reader(values: int, classes: int) -> nn.Module:
    """A small perceptron on so many values."""
    return nn.Sequential(nn.Flatten(), nn.Linear(values, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes))


def noise_like(values: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise in the shape of some values, drawn where the generator lives."""
    drawn = torch.randn(values.shape, generator=generator, device=generator.device, dtype=values.dtype)
    return drawn.to(values.device)


def attribute_of(data: FitData, name: str | None, defense: str) -> Attribute:
    """The label that a defense is to hide: the one called so, or the first.

    Raises:
        UserError: the data have no such label, or the defender's images show one class of it.
    """
    known = ", ".join(data.attributes) or "none"
    if not data.attributes or (name is not None and name not in data.attributes):
        wanted = "an attribute" if name is None else f"the attribute {name!r}"
        raise UserError(
            f"expected {wanted} to hide with {defense}, got data with the attributes {known}",
            "derive one with --label, or choose a defense that hides no particular attribute",
        )
    chosen = next(iter(data.attributes)) if name is None else name
    both = [data.attributes[chosen], *([data.validation_attributes[chosen]] if data.validation_attributes else [])]
    if len(both[0].unique()) < 2:
        raise UserError(f"expected two classes of {chosen!r} to hide with {defense}, got one", "choose another")
    return Attribute(name=chosen, labels=both[0], classes=max(int(each.max()) for each in both) + 1)


def task_turn(network: SplitNetwork, optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = adamw) -> Turn:
    """Encoder and head, for the task alone."""
    return Turn(
        name="task",
        learns=[network.encoder, network.head],
        loss=lambda batch: cross_entropy(network.head(network.encoder(batch.images)), batch.labels),
        optimizer=optimizer,
    )
