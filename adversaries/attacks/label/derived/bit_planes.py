"""Probes on the bits of floating-point words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import ProbeAttack
from adversaries.learning.planes import fit_planes
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_WORDS = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}


def words(release: Shaped[Tensor, "n ..."]) -> Int[Tensor, "n d"]:
    """The words that hold floating-point values, NaN and Inf included."""
    return release.reshape(len(release), -1).contiguous().view(_WORDS[release.dtype])


@ADVERSARIES.register("bit-planes", goals=("task", "attribute"), order=250)
@dataclass(frozen=True, kw_only=True)
class BitPlanes(Adversary):
    """A linear probe on the bits of the floating-point words, each plane alone and all together.

    Knows: labelled releases.
    Does: reads float32 as 32 planes (float16 and bfloat16 as 16, float64 as 64), skips constant planes, lets
    leave-one-out inside the labelled rows choose one plane or all of them; all when classes have a single row.
    Source: the releases of Ni, Huttunen, Rahtu, 2021, arXiv 2108.07147, permute such planes.

    Args:
        screen: planes are compared on at most so many labelled rows.
    """

    level: ClassVar[Level] = "L2"

    screen: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; raises `NotApplicableError` for integers, whose bits `integer-codes` reads."""
        release, y = view.labelled
        if release.dtype not in _WORDS:
            raise NotApplicableError("the release holds no floating-point numbers; integer-codes reads integers")
        count = torch.iinfo(_WORDS[release.dtype]).bits
        return fit_planes(words, count, release, y, view.num_classes, screen=self.screen)
