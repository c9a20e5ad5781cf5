"""Classifiers that normalize inside themselves, with a head and features in known places.

Axes: n images, c channels, h and w pixels, d features, k classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vfc.errors import UserError
from vfc.registries import MODELS as MODELS
from vfc.seeding import seeded
from vfc.training import TrainSettings

DEFAULT_UNINTENDED: dict[str, tuple[str, ...]] = {
    "small": ("mlp", "vgg11", "resnet20", "cnn"),
    "real": ("resnet20", "vgg11", "mobilenetv2", "cnn"),
}
"""Unintended models by kind of image (small: side up to 16): the first three that are not of the target's family."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("resnet20", "resnet56", "resnet18"),
    ("vgg11", "vgg16"),
    ("mobilenetv2", "shufflenetv2"),
)
"""Architectures that resemble each other; every other one is a family of its own."""

SMALL_SIDE = 16
SMALL_WIDTH = 0.25


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Normalize images."""
        return (x - self.mean) / self.std


class Classifier(nn.Module):
    """Images in [0, 1] to logits: normalization, body, linear head.

    Args:
        normalize: the first layer.
        body: normalized images to features (n, d).
        head: features to logits (n, k).
        arch: JSON-ready arguments from which `rebuild` makes the same architecture.
    """

    def __init__(self, normalize: Normalize, body: nn.Module, head: nn.Linear, arch: dict[str, Any]) -> None:
        super().__init__()
        self.normalize, self.body, self.head, self.arch = normalize, body, head, arch

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """What the head reads."""
        features: Tensor = self.body(self.normalize(x))
        return features

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        """Logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


def build_model(
    name: str,
    *,
    channels: int,
    side: int,
    num_classes: int,
    width: float = 1.0,
    mean: Sequence[float],
    std: Sequence[float],
    generator: torch.Generator,
) -> Classifier:
    """A classifier with fresh weights.

    Args:
        name: a registered architecture.
        channels: 1 or 3.
        side: pixels per side of the square images, 8 to 64.
        num_classes: how many classes, at least 2.
        width: factor on the published number of channels, above 0 and at most 4.
        mean: per-channel mean of the training images.
        std: per-channel standard deviation of the training images, above 0.
        generator: the only source of randomness.

    Raises:
        UserError: an unknown name, or a shape that the models here are not made for.
    """
    from vfc.zoo.published import of_torchvision
    from vfc.zoo.shape import Shape

    build = of_torchvision(name) or MODELS.get(name)
    if channels not in (1, 3) or not 8 <= side <= 64:
        raise UserError(
            f"expected square images of 8 to 64 pixels with 1 or 3 channels, got {side} pixels and {channels} channels",
            "resize the images",
        )
    if num_classes < 2:
        raise UserError(f"expected at least 2 classes, got {num_classes}", "choose another task label")
    if not 0 < width <= 4:
        raise UserError(f"expected a width above 0 and at most 4, got {width}", "1 is the published width")
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise UserError(
            f"expected {channels} means and positive standard deviations, got {list(mean)} and {list(std)}",
            "take them from channel_statistics",
        )

    def make() -> Classifier:
        body, features = build(Shape(channels=channels, side=side, width=width))
        arch: dict[str, Any] = {
            "name": name,
            "channels": channels,
            "side": side,
            "num_classes": num_classes,
            "width": width,
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in std],
        }
        return Classifier(Normalize(arch["mean"], arch["std"]), body, nn.Linear(features, num_classes), arch)

    return seeded(make, generator)


def rebuild(arch: Mapping[str, Any]) -> Classifier:
    """The architecture that `Classifier.arch` describes, with weights of no meaning until they are loaded.

    Raises:
        UserError: the description is not one that `build_model` wrote.
    """
    expected = {"name", "channels", "side", "num_classes", "width", "mean", "std"}
    if set(arch) != expected:
        raise UserError(f"expected the keys {sorted(expected)} of a saved model, got {sorted(arch)}", "train it again")
    return build_model(**arch, generator=torch.Generator().manual_seed(0))


def channel_statistics(images: Float[Tensor, "n c h w"]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel; a channel that never changes gets one gray level, 1 / 255."""
    std, mean = torch.std_mean(images.double(), dim=(0, 2, 3), correction=0)
    return mean.tolist(), std.clamp_min(1 / 255).tolist()


def default_models(side: int, target: str) -> tuple[tuple[str, ...], float]:
    """Three unintended architectures of different families, none the target's, and their width.

    Args:
        side: pixels per side.
        target: the target's architecture.
    """
    small = side <= SMALL_SIDE
    relatives = next((family for family in FAMILIES if target in family), (target,))
    names = [name for name in DEFAULT_UNINTENDED["small" if small else "real"] if name not in relatives]
    return tuple(names[:3]), SMALL_WIDTH if small else 1.0


def default_training(n: int, side: int) -> TrainSettings:
    """Settings that train the default models on n images of some side.

    At least 200 steps of 64 images; 8 epochs of larger sets of small images, 30 of larger images. From 10,000 images
    of 28 pixels on: batches of 256, bf16, mirrored and shifted.

    Args:
        n: training images.
        side: pixels per side.
    """
    if side >= 28 and n >= 10_000:
        return TrainSettings(steps=30 * (n // 256), batch=256, lr=2e-3, precision="bf16", augment=True)
    small = side <= SMALL_SIDE
    return TrainSettings(steps=max(200, (8 if small else 30) * (n // 64)), batch=64, lr=1e-2 if small else 2e-3)
