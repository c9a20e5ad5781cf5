"""Of which images membership is asked, and of which images shadows know which: random draws.

Axes: s shadows, u images of their universe, n members and n non-members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vfc.artifact import save_arrays
from vfc.defense import attribute_arrays
from vfc.release import tensor_digest
from vfc.seeding import derive_seed
from vfc.splits import Parts


@dataclass(frozen=True, kw_only=True)
class Question:
    """The images whose membership is asked.

    Args:
        images, labels: members and non-members, mixed.
        member: which of them are members; never shown to an adversary.
        attributes: their other labels; shadows of a defense that is fitted on some need them.
    """

    images: Float[Tensor, "m c h w"]
    labels: Int[Tensor, " m"]
    member: Bool[Tensor, " m"]
    attributes: Mapping[str, Int[Tensor, " m"]] = field(default_factory=dict)

    @classmethod
    def drawn(cls, parts: Parts, most: int, seed: int) -> Question:
        """As many images that were trained on as targets, from one random draw.

        Args:
            parts: who owns what.
            most: members, at most.
            seed: of the draw.
        """
        sides = (parts.defender_train, parts.targets)
        n = min(most, *(len(side) for side in sides))
        generator = torch.Generator().manual_seed(derive_seed("membership draw", seed))
        rows = [torch.randperm(len(side), generator=generator)[:n] for side in sides]
        mixed = torch.randperm(2 * n, generator=generator)

        def both(of: Sequence[Tensor]) -> Tensor:
            return torch.cat([values[chosen] for values, chosen in zip(of, rows, strict=True)])[mixed]

        return cls(
            images=both([side.images for side in sides]),
            labels=both([side.labels[parts.task] for side in sides]),
            member=(torch.arange(2 * n) < n)[mixed],
            attributes={
                name: both([side.labels[name] for side in sides]) for name in parts.targets.attributes(parts.task)
            },
        )


@dataclass(frozen=True, kw_only=True)
class Universe:
    """The images of which every shadow is fitted on a random part, half of them unless said otherwise.

    Args:
        images, labels: of all of them.
        member: which shadow is fitted on which; (s, u).
        attributes: their other labels, by name.
    """

    images: Float[Tensor, "u c h w"]
    labels: Int[Tensor, " u"]
    member: Bool[Tensor, "s u"]
    attributes: Mapping[str, Int[Tensor, " u"]] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls,
        images: Tensor,
        labels: Tensor,
        shadows: int,
        seed: int,
        *,
        size: int | None = None,
        attributes: Mapping[str, Tensor] | None = None,
    ) -> Universe:
        """A random half, or as many images as said, for every shadow.

        Drawn for each by itself: how many of the others hold an image must not tell whether one that is held out does,
        or thresholds would be fixed on that.

        Args:
            images, labels: of all of them.
            shadows: how many.
            seed: of the draw.
            size: images of every shadow, 1 to u; None for half of u, rounded down.
            attributes: other labels of all of them; None for none.
        """
        size = len(images) // 2 if size is None else size
        member = torch.zeros(shadows, len(images), dtype=torch.bool)
        for shadow in range(shadows):
            generator = torch.Generator().manual_seed(derive_seed("shadow half", shadow, seed))
            member[shadow, torch.randperm(len(images), generator=generator)[:size]] = True
        return cls(images=images, labels=labels, member=member, attributes=attributes or {})

    def digest(self, shadow: int, *more: Tensor) -> str:
        """Content hash of what one shadow is fitted on, and of further tensors."""
        member = self.member[shadow]
        others = [values[member] for values in self.attributes.values()]
        return tensor_digest(self.images[member], self.labels[member], *others, *more)

    def save(self, shadow: int, folder: Path) -> Path:
        """Write what one shadow is fitted on into a folder of its own; returns the file."""
        member = self.member[shadow]
        path = folder / f"shadow-{shadow}" / "arrays.safetensors"
        others = attribute_arrays({name: values[member] for name, values in self.attributes.items()})
        save_arrays({"images": self.images[member], "labels": self.labels[member], **others}, path)
        return path
