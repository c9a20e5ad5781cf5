"""Releases as sets of tokens: entries, pairs of index and value, patches. What a set says does not depend on its order.

Axes: n rows, t tokens of one release, e values of one token, c channels, h and w pixels, f features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.learning.kernels import as_float, spread, wide

Kind = Literal["entries", "pairs", "patch2", "patch4", "patch8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Single values; two values (the last axis, the first axis, or neighbors); square patches of that side."""

_SIDES = {"patch2": 2, "patch4": 4, "patch8": 8}
_MOST_TOKENS, _FAR = 1024, 10.0
_MOST_NAMES = 4096


def tokens(release: Shaped[Tensor, "n ..."], kind: Kind) -> Float[Tensor, "n t e"] | None:
    """The tokens of every release, at most 1,024 of each; None where releases have no such tokens.

    Args:
        release: of any shape.
        kind: which tokens.
    """
    shape = tuple(release.shape[1:])
    if kind in _SIDES:
        side = _SIDES[kind]
        if len(shape) != 3 or shape[1] % side or shape[2] % side or min(shape[1:]) <= side:
            return None
        found = torch.nn.functional.unfold(as_float(release), side, stride=side).transpose(1, 2)
    elif kind == "pairs":
        if len(shape) == 2 and shape[0] == 2 < shape[1]:
            found = as_float(release).transpose(1, 2)
        elif math.prod(shape) % 2 == 0 and (len(shape) == 1 or shape[-1] == 2):
            found = as_float(release).reshape(len(release), -1, 2)
        else:
            return None
    else:
        found = as_float(release).reshape(len(release), -1, 1)
    if found.shape[1] < 2:
        return None
    return found[:, spread(found.shape[1], _MOST_TOKENS).to(found.device)]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Standardization of the values of tokens, the same for every token.

    Args:
        mean: per value.
        inverse: 1 / deviation, 0 for a constant value.
    """

    mean: Float[Tensor, " e"]
    inverse: Float[Tensor, " e"]

    @classmethod
    def fit(cls, pool: Float[Tensor, "n t e"]) -> Scale:
        """Measured over all tokens of unlabelled releases."""
        exact = pool.flatten(0, 1).to(wide(pool.device))
        constant = exact.amax(0) == exact.amin(0)
        deviation = exact.std(0, correction=0).masked_fill(constant, torch.inf)
        return cls(mean=exact.mean(0), inverse=torch.nan_to_num(1 / deviation, posinf=0.0))

    def __call__(self, found: Float[Tensor, "n t e"]) -> Float[Tensor, "n t e"]:
        """Standardized tokens."""
        return ((found.to(self.mean) - self.mean) * self.inverse).clamp(-_FAR, _FAR).float()


@dataclass(frozen=True, kw_only=True)
class Bag:
    """What a set of tokens holds, in closed form: how near its tokens come to some typical ones.

    Args:
        scale: of token values.
        turn: whitening of token values.
        centers: typical tokens, from unlabelled releases.
    """

    scale: Scale
    turn: Float[Tensor, "e e"]
    centers: Float[Tensor, "q e"]

    @classmethod
    def fit(cls, pool: Float[Tensor, "n t e"], count: int, generator: torch.Generator, *, rounds: int = 8) -> Bag:
        """Whiten tokens and find typical ones by k-means on at most 20,000 of them.

        Source: Coates, Ng, Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011.

        Args:
            pool: tokens of unlabelled releases.
            count: typical tokens.
            generator: draws tokens and the first centers.
            rounds: of k-means.
        """
        scale = Scale.fit(pool)
        flat = pool.flatten(0, 1)
        drawn = torch.randperm(len(flat), generator=generator)[:20_000].to(flat.device)
        z = scale(flat[drawn][None])[0]
        values, vectors = torch.linalg.eigh(z.T @ z / len(z))
        turn = vectors / (values + 0.1 * values.mean() + 1e-6).sqrt()
        white = z @ turn
        centers = white[: min(count, len(white))].clone()
        for _ in range(rounds):
            nearest = torch.cdist(white, centers).argmin(1)
            summed = torch.zeros_like(centers).index_add_(0, nearest, white)
            held = torch.bincount(nearest, minlength=len(centers))[:, None]
            centers = torch.where(held > 0, summed / held.clamp_min(1), centers)
        return cls(scale=scale, turn=turn, centers=centers)

    def __call__(self, found: Float[Tensor, "n t e"]) -> Float[Tensor, "n f"]:
        """Mean and largest nearness to every typical token, block by block."""
        pieces = []
        for block in torch.split(found, max(1, 2_000_000 // (found.shape[1] * len(self.centers)))):
            distance = torch.cdist(self.scale(block) @ self.turn, self.centers[None])
            near = (distance.mean(2, keepdim=True) - distance).clamp_min(0)
            pieces.append(torch.cat([near.mean(1), near.amax(1)], dim=1))
        return torch.cat(pieces)


def named_slots(pool: Float[Tensor, "n t e"]) -> Callable[[Tensor], Tensor] | None:
    """Tokens laid out by a value that names its place, as in a list of index and value; None where none does.

    A value names places if it takes few whole numbers, and no token of a release shares its number with another.
    """
    found = pool[:, :, :4]
    for name in range(found.shape[2] if pool.shape[2] > 1 else 0):
        numbers = found[:, :, name]
        if not bool((numbers == numbers.round()).all()) or float(numbers.max() - numbers.min()) >= _MOST_NAMES:
            continue
        ordered = numbers.sort(1).values
        if bool((ordered[:, 1:] == ordered[:, :-1]).any()):
            continue
        return _slots(name, int(numbers.min()), int(numbers.max()), pool.shape[2])
    return None


def _slots(name: int, low: int, high: int, size: int) -> Callable[[Tensor], Tensor]:
    others = [place for place in range(size) if place != name]

    def lay_out(found: Float[Tensor, "n t e"]) -> Float[Tensor, "n f"]:
        place: Int[Tensor, "n t"] = (found[:, :, name].round().long() - low).clamp(0, high - low)
        laid = found.new_zeros(len(found), high - low + 1, len(others))
        laid.scatter_(1, place[:, :, None].expand(-1, -1, len(others)), found[:, :, others])
        return laid.flatten(1)

    return lay_out
