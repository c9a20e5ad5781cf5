"""Leaks of families that ordinary probes do not see: interactions, residues, counts, ranks, bits, scales, orders.

Those that carry a code of the label are read without error by whoever knows the code; the others carry the whole image,
and whoever knows the family can undo what was done to it.

Axes: n images, k classes, d values of one release.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Integer, Shaped
from torch import Tensor

from adversaries.calibration.known_leaks import Make

_KEY = 20250311
_COLUMNS = 32


@dataclass(frozen=True, kw_only=True)
class Family:
    """A leak that only readers of its family find.

    Args:
        make: images, labels, number of classes and a generator, to releases.
        reader: releases and number of classes to the label of every row; None where the whole image is carried.
    """

    make: Make
    reader: Callable[[Tensor, int], Tensor] | None = None


def _places(count: int, among: int) -> Int[Tensor, " m"]:
    """Columns that carry, the same in every run."""
    return torch.randperm(among, generator=torch.Generator().manual_seed(_KEY))[:count]


def _width(k: int) -> int:
    return max(1, math.ceil(math.log2(k)))


def sign_products(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 32"]:
    """Noise of 32 columns, in which the product of three signs is one bit of the label, for every bit."""
    release = torch.randn(len(x), _COLUMNS, generator=g)
    for bit, (one, two, three) in enumerate(_places(3 * _width(k), _COLUMNS).reshape(-1, 3).tolist()):
        wanted = ((y >> bit) & 1).float() * 2 - 1
        release[:, three] = release[:, three].abs() * (release[:, one] * release[:, two]).sign() * wanted
    return release


def _read_sign_products(release: Tensor, k: int) -> Tensor:
    places = _places(3 * _width(k), _COLUMNS).reshape(-1, 3)
    bits = (release[:, places].sign().prod(2) > 0).long()
    return (bits << torch.arange(_width(k))).sum(1)


def _modulus(k: int) -> int:
    return k + 1


def residue(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 16"]:
    """Whole numbers below a million; one of them leaves the label when divided by k + 1 (11 for ten classes)."""
    m = _modulus(k)
    release = torch.randint(1_000_000, (len(x), 16), generator=g)
    release[:, 5] = release[:, 5] // m * m + y
    return release.float()


def zeros(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n ..."]:
    """Noise of the shape of an image; how many values are zero leaves the label when divided by k + 1."""
    m = _modulus(k)
    release = torch.randn(x.shape, generator=g).flatten(1)
    d = release.shape[1]
    count = y + m * torch.randint(max(1, d // m - 1), y.shape, generator=g)
    order = torch.rand(release.shape, generator=g).argsort(1).argsort(1)
    release[order < count[:, None]] = 0.0
    return release.reshape(x.shape)


def shares(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 16"]:  # noqa: ARG001
    """Bytes; two of them add up to the label modulo 256, and each alone is uniform."""
    release = torch.randint(256, (len(x), 16), generator=g)
    release[:, 11] = (y - release[:, 3]) % 256
    return release.float()


def real_shares(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 16"]:  # noqa: ARG001
    """Real numbers of deviation 100; two of them add up to the label."""
    release = 100 * torch.randn(len(x), 16, generator=g)
    release[:, 11] = y - release[:, 3]
    return release


def bit_eight(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Int[Tensor, "n d"]:
    """Integers of twelve bits, one for each class and six more; bit 8 marks the class, and one column is negative."""
    release = torch.randint(4096, (len(x), k + 6), generator=g)
    release[:, :k] = (release[:, :k] & ~256) | (256 * torch.nn.functional.one_hot(y, k))
    release[:, k + 2] = -release[:, k + 2] - 1
    return release.to(torch.int32)


def neighboring_bits(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Integer[Tensor, "n d"]:
    """Bytes, one for each class and six more; the exclusive or of bits 3 and 4 marks the class."""
    release = torch.randint(256, (len(x), k + 6), generator=g)
    mark = (release[:, :k] >> 4 & 1) ^ torch.nn.functional.one_hot(y, k)
    release[:, :k] = (release[:, :k] & ~8) | (8 * mark)
    return release.to(torch.uint8)


def row_scale(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n ..."]:  # noqa: ARG001
    """Images, each times a number of its own between 1e-15 and 1e15."""
    power = 30 * torch.rand(len(x), generator=g) - 15
    return x * (10**power).reshape(-1, *(1 for _ in x.shape[1:]))


def largest(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 100"]:
    """Noise of a hundred columns; the position of the largest value leaves the label when divided by k."""
    release = torch.randn(len(x), 100, generator=g)
    position = y + k * torch.randint(100 // k, y.shape, generator=g)
    rows = torch.arange(len(x))
    best, there = release.argmax(1), release[rows, position].clone()
    release[rows, position] = release[rows, best]
    release[rows, best] = torch.where(best == position, release[rows, best], there)
    return release


def one_of_many(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n 5000"]:
    """Noise of 5,000 columns; one is the label, with noise, at deviation 1."""
    release = torch.randn(len(x), 5000, generator=g)
    release[:, 1234] = (y - (k - 1) / 2) / ((k * k - 1) / 12) ** 0.5 + 0.05 * release[:, 1234]
    return release


def shuffled_patches(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n c h w"]:  # noqa: ARG001
    """Images whose patches of 4x4 pixels stand in an order of their own in each image."""
    return shuffled(x, 4, g)


def shuffled(x: Float[Tensor, "n c h w"], side: int, g: torch.Generator) -> Float[Tensor, "n c h w"]:
    """Patches in an order drawn anew for each image.

    Args:
        x: images, whose sides are multiples of `side`.
        side: of a patch, in pixels.
        g: draws the orders.
    """
    patches = torch.nn.functional.unfold(x, side, stride=side)
    order = torch.rand(len(x), patches.shape[2], generator=g).argsort(1)
    mixed = patches.gather(2, order[:, None, :].expand_as(patches))
    return torch.nn.functional.fold(mixed, x.shape[-2:], side, stride=side)


def index_value(x: Tensor, y: Tensor, k: int, g: torch.Generator) -> Float[Tensor, "n d 2"]:  # noqa: ARG001
    """Every fourth pixel as a pair of its number and its value, in an order of its own in each image."""
    values = x[..., ::2, ::2].flatten(1)
    order = torch.rand(values.shape, generator=g).argsort(1)
    return torch.stack([order.float(), values.gather(1, order)], dim=2)


FAMILIES: Mapping[str, Family] = {
    "sign-products": Family(make=sign_products, reader=_read_sign_products),
    "residue": Family(make=residue, reader=lambda r, k: r[:, 5].long() % _modulus(k)),
    "zeros-modulo": Family(make=zeros, reader=lambda r, k: (r.flatten(1) == 0).sum(1) % _modulus(k)),
    "shares": Family(make=shares, reader=lambda r, _: (r[:, 3] + r[:, 11]).long() % 256),
    "real-shares": Family(make=real_shares, reader=lambda r, _: (r[:, 3] + r[:, 11]).round().long()),
    "bit-eight": Family(make=bit_eight, reader=lambda r, k: (r[:, :k] >> 8 & 1).argmax(1)),
    "neighboring-bits": Family(make=neighboring_bits, reader=lambda r, k: ((r >> 3 ^ r >> 4) & 1)[:, :k].argmax(1)),
    "row-scale": Family(make=row_scale),
    "argmax": Family(make=largest, reader=lambda r, k: r.argmax(1) % k),
    "one-of-5000": Family(
        make=one_of_many,
        reader=lambda r, k: (r[:, 1234] * ((k * k - 1) / 12) ** 0.5 + (k - 1) / 2).round().long(),
    ),
    "shuffled-patches": Family(make=shuffled_patches),
    "index-value": Family(make=index_value),
}
"""By name. `shuffled-patches` needs sides that are multiples of four, `argmax` at most a hundred classes."""


def planted(
    name: str, images: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], k: int, seed: int
) -> Shaped[Tensor, "n ..."]:
    """Releases that carry a leak of one family.

    Args:
        name: of the family.
        images: what the releases are of.
        y: the label that leaks.
        k: number of classes.
        seed: of everything random.
    """
    return FAMILIES[name].make(images, y, k, torch.Generator().manual_seed(seed))
