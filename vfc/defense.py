"""What a defense is: images in, a release out, and an intended use of the release."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from vfc.core.noise import NoiseLaw
from vfc.core.secret import Secret, parse_secret
from vfc.registries import DEFENSES as DEFENSES
from vfc.release import Release

_ATTRIBUTE = "attribute"

D = TypeVar("D", bound="Defense")  # typing.Self, which beartype refuses on methods decorated one by one


@dataclass(frozen=True, kw_only=True)
class FitData:
    """What a defender may use to fit a defense: its own part of the data, and the frozen target model.

    Args:
        images: the defender's training images in [0, 1], shape (n, c, h, w).
        labels: task labels, shape (n,), integers in [0, num_classes).
        validation_images: the defender's own validation part; never the attacker's, never the targets.
        validation_labels: its task labels.
        num_classes: how many task classes there are.
        target: the frozen target model, images to logits, in eval mode.
        attributes: the defender's own labels other than the task's, by name, each (n,) integers from 0 up.
        validation_attributes: the same on the validation part.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    validation_images: Float[Tensor, "m c h w"]
    validation_labels: Int[Tensor, " m"]
    num_classes: int
    target: nn.Module
    attributes: Mapping[str, Int[Tensor, " n"]] = field(default_factory=dict)
    validation_attributes: Mapping[str, Int[Tensor, " m"]] = field(default_factory=dict)


def attribute_arrays(attributes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Labels as arrays `attribute.POSITION.NAME`: files forget the order, and the first attribute is a default."""
    return {f"{_ATTRIBUTE}.{position}.{name}": values for position, (name, values) in enumerate(attributes.items())}


def attributes_of(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `attribute_arrays` was given, in its order, from all arrays of a file."""
    parts = [(name.split(".", 2), values) for name, values in arrays.items()]
    found = [(int(part[1]), part[2], values) for part, values in parts if part[0] == _ATTRIBUTE]
    return {name: values for _, name, values in sorted(found, key=lambda each: each[0])}


@dataclass(frozen=True, kw_only=True)
class Defense(ABC):
    """Base of all defenses: frozen settings plus, once fitted, `state`.

    Subclasses add their settings as keyword-only dataclass fields and implement `publish`; those that learn or keep a
    key also implement `fit`, which returns a new, fitted object and never changes this one. Tensors and modules live
    on one device; `publish` and `predict` follow the device of what they are given.

    Example:
        ```python
        @dataclass(frozen=True, kw_only=True)
        class Brighter(Defense):
            amount: float = 0.1

            def publish(self, x, generator):
                return Release(values=(x + self.amount).clamp(0, 1), bounds=(0.0, 1.0))

        published = Brighter().publish(torch.zeros(2, 1, 8, 8), torch.Generator())
        ```
    """

    stochastic: ClassVar[bool] = False
    """Whether two releases of one image differ (declared; the runner observes it too)."""

    keyed: ClassVar[bool] = False
    """Whether `fit` draws a secret key, so that another fit publishes other releases of the same images."""

    secret: ClassVar[Mapping[str, object] | None] = None
    """What attackers are not granted, as a literal that cards show: kind, what, bits, lifetime. None: no secret."""

    @property
    def oracle(self) -> bool:
        """Whether it is to be told the true labels of what it publishes, which no defender knows."""
        return False

    target: nn.Module | None = None
    """The frozen target model, kept by `fit`; None before."""

    def fit(self: D, data: FitData, generator: torch.Generator) -> D:  # noqa: ARG002  (subclasses use it)
        """Return a fitted copy of this defense. The default keeps the target and learns nothing."""
        return self._replace(target=data.target)

    def granted(self: D, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> D:  # noqa: ARG002
        """A copy that knows the true task labels of some images; itself unless it is an `oracle`."""
        return self

    @abstractmethod
    def publish(self, x: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        """Publish images.

        Args:
            x: images in [0, 1], shape (n, c, h, w).
            generator: the only source of randomness.

        Returns:
            One release row per image.
        """

    def predict(self, values: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n classes"] | None:
        """Logits of the intended use on published values; None if this defense serves no target model.

        The default hands the values to the target model as they are.
        """
        return None if self.target is None else self.target(values)

    def inverse(self, values: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "n ..."] | None:  # noqa: ARG002
        """Images from published values by what the defense itself brings for that; None if it brings nothing."""
        return None

    def noise_law(self) -> NoiseLaw | None:
        """The Gaussian noise between image and release, if this fitted defense declares any; None otherwise.

        Only for noise of positive variance in every direction, through which everything published has passed.
        """
        return None

    def declared_secret(self) -> Secret:
        """What this defense declares that its attackers do not have.

        Raises:
            UserError: the declaration is malformed.
        """
        return parse_secret(self.secret, DEFENSES.name_of(type(self)))

    def latent_law(self) -> NoiseLaw | None:
        """The law q(z|x) that a variational latent was trained with, published or not; None without one."""
        return None

    def undefended(self: D) -> D | None:
        """The same network settings without the defense, unfitted; None for a defense that trains no network."""
        return None

    def state(self) -> dict[str, Tensor]:
        """The tensors that `fit` made (weights, keys, masks), without the target's."""
        return {}

    def with_state(self: D, state: Mapping[str, Tensor], target: nn.Module) -> D:  # noqa: ARG002
        """A fitted copy from what `state` returned and the target; the inverse of `state`."""
        return self._replace(target=target)

    def settings(self) -> dict[str, Any]:
        """The frozen settings as JSON-ready data."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.init and each.name not in ("target", "fitted")
        }

    def _replace(self: D, **changes: Any) -> D:
        return replace(self, **changes)
