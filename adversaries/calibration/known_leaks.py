"""Leaks that must be found and nulls that must not, planted on real images at a stated strength.

The strength is the share of images whose release carries the leak. Every other release is that of a random other row:
of its image, or of its label. So a release that carries and one that does not look alike, and at strength 0 there is
nothing to find.

Axes: n images, k classes, d values of one release.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from vfc.seeding import derive_seed

Make = Callable[[Tensor, Tensor, int, torch.Generator], Tensor]
"""Images (n, c, h, w), the label that leaks (n,), its number k of classes, and a generator, to releases."""

GOALS = {"adaptive-probe": "task", "attribute": "attribute", "inversion": "reconstruction"}
"""What each protocol that is calibrated is after."""

REPEATS = 16
"""Releases of one image, where a leak is in their average."""

_VALUES = 8
_KEY = 20240607


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A known leak or null, and which protocol must find it.

    Args:
        name: of the leak.
        make: releases.
        protocol: who must find it, or must not raise an alarm.
        null: whether there is nothing to find.
        each_class: whether the alarm is on the class that leaks most.
        reads: what `make` is handed as the label: the attacked one, or the task label.
        repeated: whether `make` gives several releases of every image, (n, m, ...); whoever is not granted repeats
            sees the first.
    """

    name: str
    make: Make
    protocol: str = "adaptive-probe"
    null: bool = False
    each_class: bool = False
    reads: str = "goal"
    repeated: bool = False

    @property
    def goal(self) -> str:
        """Kind of goal: `task`, `attribute` or `reconstruction`."""
        return GOALS[self.protocol]


def plant(world: EvaluationData, leak: Planted, label: str, task: str, strength: float, seed: int) -> EvaluationData:
    """The world with planted releases in place of all others.

    Args:
        world: with images; releases are replaced.
        leak: which.
        label: the attacked label.
        task: the task label.
        strength: share of images that carry it, in [0, 1].
        seed: of everything random but the leak's secret key, which is the same in every run.
    """
    generator = torch.Generator().manual_seed(derive_seed("known leak", leak.name, seed))
    secret = task if leak.reads == "task" else label
    classes = world.classes[secret]
    parts = {}
    for name in ("train", "validation", "targets"):
        part: Part = getattr(world, name)
        if part.images is None:
            raise ValueError("expected a world with images")
        n = len(part)
        carries = torch.rand(n, generator=generator) < strength
        if leak.reads == "task":  # a null: it says all about the task, and nothing else
            carries = torch.ones(n, dtype=torch.bool)
        source = torch.where(carries, torch.arange(n), torch.randint(n, (n,), generator=generator))
        images, labels = part.images.cpu()[source], part.labels[secret].cpu()[source]
        release = leak.make(images, labels, classes, generator).to(part.images.device)
        parts[name] = replace(part, release=release)
    return replace(world, train=parts["train"], validation=parts["validation"], targets=parts["targets"])


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator)


def _bits(y: Int[Tensor, " n"], classes: int) -> Int[Tensor, "n 8"]:
    """The label in binary, repeated until eight values are full."""
    width = max(1, math.ceil(math.log2(classes)))
    return (y[:, None] >> (torch.arange(_VALUES) % width)) & 1


def _identity(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    return x


def _permutation(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    order = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(_KEY))
    return x.flatten(1)[:, order].reshape(x.shape)


def _mixing(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    return (x.flatten(1) @ _rotation(x[0].numel())).reshape(x.shape)


@cache
def _rotation(d: int) -> Float[Tensor, "d d"]:
    rotation: Tensor = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(_KEY))).Q
    return rotation


def _quantization(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    """Three bits over the range [0, 1], published as integer codes."""
    return (x.clamp(0, 1) * 7).round().to(torch.uint8)


def _pixel(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    release = _noise(x, g)
    level = (y - (k - 1) / 2) / ((k * k - 1) / 12) ** 0.5
    release[:, 0, 3, 5] = level + 0.05 * release[:, 0, 3, 5]
    return release


def _latent(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    return _pixel(x, y, k, g)[:, 0].flatten(1)[:, :64]


def _lowest_bits(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    """Random 8-bit codes as floats in [0, 1]; the lowest bits of the first eight values tell."""
    codes = torch.randint(256, x.shape, generator=g).flatten(1)
    codes[:, :_VALUES] = codes[:, :_VALUES] // 2 * 2 + _bits(y, k)
    return codes.reshape(x.shape).float() / 255


def _norm(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    direction = torch.nn.functional.normalize(_noise(x, g).flatten(1), dim=1).reshape(x.shape)
    return direction * (1 + 0.2 * y[:, None, None, None])


def _signs(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    """Sizes from 1e-3 to 1e3; the signs of the first eight values tell."""
    size = (10 ** (6 * torch.rand(x.shape, generator=g) - 3)).flatten(1)
    sign = torch.randint(2, size.shape, generator=g)
    sign[:, :_VALUES] = _bits(y, k)
    return (size * (2 * sign - 1)).reshape(x.shape)


def _zeros(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    """Noise, in which the label decides which of the first values is exactly zero."""
    release = _noise(x, g).flatten(1)
    release[:, :k] *= 1 - torch.nn.functional.one_hot(y, k)
    return release.reshape(x.shape)


def _second_order(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    """Noise; the products of neighbors among the first values have signs that tell."""
    release = _noise(x, g).flatten(1)
    first, second = release[:, 0 : 2 * _VALUES : 2], release[:, 1 : 2 * _VALUES : 2]
    release[:, 1 : 2 * _VALUES : 2] = second.abs() * first.sign() * (2 * _bits(y, k) - 1)
    return release.reshape(x.shape)


def _one_class(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    """One value is large for the last class, and for one in four of all others: nothing tells those apart."""
    release = _noise(x, g)
    others = torch.rand(len(y), generator=g) < 0.25
    release[:, 0, 3, 5] += 5.0 * ((y == k - 1) | others)
    return release


def _average(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    """Each release drowns in noise, twenty times what images vary by, which cancels over all releases of an image."""
    noise = torch.randn(len(x), REPEATS, *x.shape[1:], generator=g)
    return x[:, None] + 20 * x.std() * (noise - noise.mean(1, keepdim=True))


def _repeated_noise(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    return torch.randn(len(x), REPEATS, *x.shape[1:], generator=g)


def _repeated_constant(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:
    return _constant(x, y, k, g)[:, None].repeat(1, REPEATS, *(1 for _ in x.shape[1:]))


def _pure_noise(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    return _noise(x, g)


def _constant(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Tensor:  # noqa: ARG001
    return torch.full_like(x, 0.25)


def _label_image(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Shaped[Tensor, "n ..."]:
    """An image of the label it is handed, with noise."""
    release = 0.1 * _noise(x, g).flatten(1)
    release[:, :k] += torch.nn.functional.one_hot(y, k)
    return release.reshape(x.shape)


TABLE: tuple[Planted, ...] = (
    Planted(name="identity", make=_identity),
    Planted(name="pixel-permutation", make=_permutation),
    Planted(name="orthogonal-mixing", make=_mixing),
    Planted(name="quantization", make=_quantization),
    Planted(name="second-order", make=_second_order),
    Planted(name="least-significant-bits", make=_lowest_bits),
    Planted(name="pixel", make=_pixel, protocol="attribute"),
    Planted(name="latent-dimension", make=_latent, protocol="attribute"),
    Planted(name="norm", make=_norm, protocol="attribute"),
    Planted(name="signs", make=_signs, protocol="attribute"),
    Planted(name="zeros", make=_zeros, protocol="attribute"),
    Planted(name="one-class", make=_one_class, each_class=True, protocol="attribute"),
    Planted(name="average", make=_average, repeated=True, protocol="inversion"),
    Planted(name="noise", make=_pure_noise, null=True),
    Planted(name="constant", make=_constant, null=True),
    Planted(name="noise", make=_pure_noise, null=True, protocol="attribute"),
    Planted(name="constant", make=_constant, null=True, protocol="attribute"),
    Planted(name="task-label", make=_label_image, null=True, reads="task", protocol="attribute"),
    Planted(name="noise", make=_repeated_noise, repeated=True, null=True, protocol="inversion"),
    Planted(name="constant", make=_repeated_constant, repeated=True, null=True, protocol="inversion"),
)
"""Which protocol must find what, and on what none may raise an alarm.

A leak that shows only on average over repeated releases is for those who are granted repeats: `inversion`.
"""


def get_leak(name: str, protocol: str) -> Planted:
    """The leak or null of that name which is assigned to a protocol."""
    return next(leak for leak in TABLE if (leak.name, leak.protocol) == (name, protocol))
