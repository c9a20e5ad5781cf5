"""A probe on what no permutation of bits hides: how many are set, which words are zero, which are equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, ProbeAttack, Ridge, fit_best, spread, strongest
from adversaries.learning.words import popcounts, words_in, words_like
from adversaries.threat import Level


def _set_bits(words: Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return popcounts(words)


def _zeros(words: Int[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    return (words == 0).float()


def _equal(words: Int[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """Whether a word is its release's most frequent one, and whether it is its neighbor's."""
    frequent = words.mode(1, keepdim=True).values
    return torch.cat([words == frequent, words[:, 1:] == words[:, :-1]], dim=1).float()


def _all(words: Int[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    return torch.cat([_set_bits(words), _zeros(words), _equal(words)], dim=1)


_VIEWS: tuple[Callable[[Tensor], Tensor], ...] = (_set_bits, _zeros, _equal, _all)


@ADVERSARIES.register("popcounts", goals=("task", "attribute"), order=294)
@dataclass(frozen=True, kw_only=True)
class Popcounts(Adversary):
    """A kernel probe on how many bits of each 32-bit word are set, which words are zero, and which are equal.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: ridge regression, linear or with a Gaussian kernel, on each of those views and on all together; the view by
    leave-one-out inside the labelled rows. None of them changes when the bits of a word are permuted, whatever the key
    and however short its life; equality shows as long as two words share a permutation.
    Source: our break of the releases of Ni, Huttunen, Rahtu, 2021, arXiv 2108.07147.

    Args:
        screen: views are compared on at most so many labelled rows.
    """

    level: ClassVar[Level] = "L2"

    screen: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; raises `NotApplicableError` where a release holds no words."""
        release, y = view.labelled
        pool = words_in(view.unlabelled)
        words, rows = words_like(release), spread(len(y), self.screen).to(y.device)
        fits: list[Ridge] = []
        features = [_scaled(look, pool) for look in _VIEWS]
        for each in features:
            shown = each(words[rows])
            fits.append(fit_best(shown, y[rows], view.num_classes, (("linear", 1.0), ("rbf", _middle(shown)))))
        best = features[strongest(fits)]
        x = best(words)
        ridge = fit_best(x, y, view.num_classes, (("linear", 1.0), ("rbf", _middle(x))))
        return ProbeAttack(features=lambda some: best(words_like(some)), ridge=ridge)


def _scaled(look: Callable[[Tensor], Tensor], pool: Int[Tensor, "n d"]) -> Callable[[Tensor], Tensor]:
    columns = Columns.fit(look(pool))
    return lambda words: columns(look(words)).clamp(-10, 10)


def _middle(x: Float[Tensor, "n e"]) -> float:
    some = x[: min(len(x), 500)]
    return float(torch.cdist(some, some).median()) or 1.0
