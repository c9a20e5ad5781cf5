"""The base of defenses that cut the target in two, train both parts again, and publish what passes between them.

Axes: n images, c channels, h and w pixels, k classes.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vfc.core.split import middle_layer
from vfc.core.turns import Pace, Turn, train_by_turns
from vfc.defense import DEFENSES, Defense, FitData
from vfc.defenses.split_training import SplitNetwork, Training, attribute_of, task_turn
from vfc.defenses.support import require_fitted, require_range, require_state
from vfc.errors import UserError
from vfc.release import Release
from vfc.seeding import seeded

S = TypeVar("S", bound="SplitDefense")
_CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class SplitDefense(Defense):
    """A copy of the target, cut at a layer and trained again; what passes between both parts is published.

    The intended use is the second part of that copy; the target itself never changes. Subclasses say who trains, and
    may add to the encoder. Without a privacy term all of them train encoder and head for the task alone.

    Args:
        layer: name of the layer whose output is published; None for one in the middle of the target.
        weight: of the privacy term, from 0 (none) to 1 (nothing but it).
        epochs: None = 20 for sides up to 16 pixels, else 14.
        batch: images per step; None = 32 for sides up to 16 pixels, else 64.
        lr: peak learning rate.
    """

    layer: str | None = None
    weight: float = 0.5
    epochs: int | None = None
    batch: int | None = None
    lr: float = 2e-3
    fitted: SplitNetwork | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_range("weight", self.weight, 0, 1)
        require_range("lr", self.lr, 0, above=True)
        for option in ("epochs", "batch"):
            value = getattr(self, option)
            if value is not None:
                require_range(option, value, 1 if option == "epochs" else 2)

    @abstractmethod
    def turns(self, training: Training) -> list[Turn]:
        """The players of the training with a privacy term."""

    def plain(self, network: SplitNetwork) -> Turn:
        """The only player without a privacy term: encoder and head, for the task alone."""
        return task_turn(network)

    @property
    def private(self) -> bool:
        """Whether there is a privacy term at all."""
        return self.weight > 0

    def prepared(self, model: nn.Module) -> nn.Module:
        """The copy of the target, changed before it is cut; as it is unless a subclass says otherwise."""
        return model

    def extra(self, features: tuple[int, ...]) -> nn.Module | None:  # noqa: ARG002  (subclasses use it)
        """What publishing needs beside the encoder, for encoded images of a shape; nothing by default."""
        return None

    def settle(self, network: SplitNetwork, data: FitData) -> None:  # noqa: ARG002  (subclasses use it)
        """Write into the trained network what publishing needs to know of it; nothing by default."""
        return

    def encoded(
        self,
        network: SplitNetwork,
        x: Float[Tensor, "n c h w"],
        generator: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor | None]:
        """What is published of images, and its mask if there is one."""
        return network.encoder(x), None

    def pace(self, shape: tuple[int, ...]) -> Pace:
        """How long images of shape (c, h, w) train."""
        small = max(shape[1:]) <= 16
        epochs, batch = self.epochs or (20 if small else 14), self.batch or (32 if small else 64)
        return Pace(epochs=epochs, batch=batch, lr=self.lr)

    def fit(self: S, data: FitData, generator: torch.Generator) -> S:
        """Train encoder and head from a copy of the target, on its device.

        Raises:
            UserError: the layer or the attribute is not there, there are fewer than two images, or the training
                diverged or collapsed.
        """
        network = self.train(data, generator).network
        return self._replace(target=data.target, fitted=network)

    def train(self, data: FitData, generator: torch.Generator) -> Training:
        """What `fit` does, with the opponents beside the network."""
        name = DEFENSES.name_of(type(self))
        if len(data.images) < 2:
            raise UserError(f"expected at least 2 images to fit {name} on, got {len(data.images)}", "use more images")
        shape = tuple(data.images.shape[1:])
        network = self._built(data.target, shape, generator).requires_grad_(True)
        pace = self.pace(shape)
        hides = self.private and hasattr(self, "attribute")
        training = Training(
            network=network,
            data=data,
            steps=pace.steps(len(data.images)),
            generator=generator,
            attribute=attribute_of(data, getattr(self, "attribute", None), name) if hides else None,
        )
        turns = self.turns(training) if self.private else [self.plain(network)]
        hidden = training.attribute.labels if training.attribute is not None else None
        train_by_turns(turns, data.images, data.labels, hidden, pace, generator)
        network.eval().requires_grad_(False)
        self.settle(network, data)
        _require_alive(self, network, data, generator)
        return training

    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """What the encoder makes of images: one forward pass. Differentiable when `x` requires a gradient."""
        network = require_fitted(self.fitted, DEFENSES.name_of(type(self)))
        if tuple(x.shape[1:]) != network.shape:
            raise UserError(f"expected images of shape {network.shape}, got {tuple(x.shape[1:])}", "use that size")
        pieces = [self.encoded(network, rows.to(network.device), generator) for rows in torch.split(x, _CHUNK)]
        masks = [mask for _, mask in pieces if mask is not None]
        return Release(
            values=torch.cat([values for values, _ in pieces]).to(x.device),
            mask=torch.cat(masks).to(x.device) if masks else None,
        )

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """Logits of the trained head."""
        network = require_fitted(self.fitted, DEFENSES.name_of(type(self)))
        logits: Tensor = network.head(values.to(network.device))
        return logits.to(values.device)

    def undefended(self: S) -> S:
        """The same network trained for the task alone, unfitted."""
        return self._replace(weight=0.0, fitted=None, target=None)

    def state(self) -> dict[str, Tensor]:
        """Weights and statistics of the network, and the image shape (c, h, w)."""
        network = require_fitted(self.fitted, DEFENSES.name_of(type(self)))
        return {**network.state_dict(), "shape": torch.tensor(network.shape)}

    def with_state(self: S, state: Mapping[str, Tensor], target: nn.Module) -> S:
        """The fitted defense that `state` was taken from, on the target's device.

        Raises:
            UserError: the tensors do not fit these settings, or this target.
        """
        shape = tuple(require_state(state, "shape").tolist())
        network = self._built(target, shape, torch.Generator().manual_seed(0))
        try:
            network.load_state_dict({name: value for name, value in state.items() if name != "shape"})
        except RuntimeError as error:
            raise UserError(
                f"expected weights of {DEFENSES.name_of(type(self))} with these settings, got others: "
                f"{str(error)[:300]}",
                "fit it again",
            ) from error
        return self._replace(target=target, fitted=network.eval().requires_grad_(False))

    def _built(self, target: nn.Module, shape: tuple[int, ...], generator: torch.Generator) -> SplitNetwork:
        device = next((parameter.device for parameter in target.parameters()), torch.device("cpu"))
        layer = self.layer or middle_layer(target)

        def build() -> SplitNetwork:
            return SplitNetwork(self.prepared(copy.deepcopy(target)), layer, shape, self.extra)

        return seeded(build, generator).to(device)


@torch.no_grad()
def _require_alive(defense: SplitDefense, network: SplitNetwork, data: FitData, generator: torch.Generator) -> None:
    """Refuse a release that is the same for all images, or not finite."""
    state = generator.get_state()
    values, _ = defense.encoded(network, data.images[:_CHUNK].to(network.device), generator)
    generator.set_state(state)
    name = DEFENSES.name_of(type(defense))
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"expected finite releases from {name}, got NaN or infinity", "lower lr or weight")
    if bool((values == values[:1]).all()):
        raise UserError(
            f"expected different releases from {name}, got one for all images: it collapsed", "lower weight"
        )
