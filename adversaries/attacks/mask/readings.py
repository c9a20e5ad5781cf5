"""Worlds in which probes are given latents or mask bits in place of releases: what does the mask itself hide?

Axes: n images, d latent units. z is the latent before the mask, m the mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from adversaries.attacks.mask.opened_latent import Latent
from adversaries.evaluation_data import EvaluationData, Part
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

Reading = Literal["unmasked latent", "masked latent", "random mask", "mask bits"]


def read_world(
    world: EvaluationData, latent: Latent, masks: Mapping[str, Tensor], reading: Reading, draw: int = 0
) -> EvaluationData:
    """The world with something else in place of every release, as only somebody who has the images can make it.

    Args:
        world: with images.
        latent: of the defense.
        masks: of every image, by part (`train`, `validation`, `targets`), each (n, d).
        reading: what replaces a release.
        draw: which random mask.

    Raises:
        NotApplicableError: the originals are unknown.
    """

    def part(name: str, rows: Part) -> Part:
        if rows.images is None:
            raise NotApplicableError("the originals are unknown")
        kept = masks[name] != 0
        if reading == "mask bits":
            return replace(rows, release=kept.float())
        z = latent.encode(rows.images)
        if reading == "masked latent":
            z = z * kept
        elif reading == "random mask":
            z = z * permuted(kept, draw, per_image=latent.per_image, name=name)
        return replace(rows, release=z)

    return replace(
        world,
        train=part("train", world.train),
        validation=part("validation", world.validation),
        targets=part("targets", world.targets),
    )


def permuted(kept: Bool[Tensor, "n d"], draw: int, *, per_image: bool, name: str) -> Bool[Tensor, "n d"]:
    """Random masks of the same sizes: one order for all images, or one for each where masks differ between images."""
    if not per_image:
        order = torch.randperm(kept.shape[1], generator=torch.Generator().manual_seed(derive_seed("mask", draw)))
        return kept[:, order.to(kept.device)]
    generator = torch.Generator().manual_seed(derive_seed("mask", draw, name))
    return kept.gather(1, torch.rand(kept.shape, generator=generator).argsort(1).to(kept.device))
