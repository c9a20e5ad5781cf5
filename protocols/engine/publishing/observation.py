"""Watching what a release does: publish some images again, with other randomness, alone or in other company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from protocols.engine.publishing.calls import ROWS
from protocols.engine.publishing.dependence import differs, reads_otherwise, varies
from protocols.engine.publishing.publisher import Images, Publisher
from vfc.release import Observed

PROBED = 64
"""Images that are published again."""

CALLS = 8
"""Calls in which a stochastic release is published again."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What there is to watch.

    Args:
        publisher: publishes.
        images_of: images by part; `train` is the attacker's, `targets` are the targets.
        published: what was published for them, in mixed calls.
        labels: task labels of the attacker's images.
    """

    publisher: Publisher
    images_of: Mapping[str, Images]
    published: Mapping[str, Shaped[Tensor, "n ..."]]
    labels: Int64[Tensor, " m"]

    def observed(self) -> Observed:
        """What was seen."""
        publisher, images = self.publisher, torch.cat(list(self.images_of.values()))
        rows = _spread(len(images), PROBED)
        some = images[rows]
        # One process publishes both: each of two might begin with the same randomness of its own.
        first, second = publisher.releases(lambda: ((some, publisher.generator("observe", turn)) for turn in (1, 2)))
        stochastic = not torch.equal(_comparable(first), _comparable(second))
        if stochastic:
            dependent = varies(self._in_company(images, rows)) or self._reads_otherwise()
        else:
            values = torch.cat([self.published[name] for name in self.images_of])
            dependent = differs(values[rows], self._alone(some))
        targets = self.published["targets"]
        return Observed.of_values(
            targets,
            declared_bounds=publisher.declared_bounds(some),
            declared_stochastic=bool(publisher.defense.stochastic),
            stochastic=stochastic,
            call_dependent=dependent,
            image_shaped=targets.shape == self.images_of["targets"].shape and targets.is_floating_point(),
        )

    def _alone(self, images: Images) -> Shaped[Tensor, "n ..."]:
        """Releases from calls of one image each."""
        generator = self.publisher.generator("observe", 1)
        return torch.cat(self.publisher.releases(lambda: ((image, generator) for image in torch.split(images, 1))))

    def _in_company(self, images: Images, rows: Int64[Tensor, " m"]) -> Shaped[Tensor, "c m ..."]:
        """Releases of some rows in several calls, each time at other places among other images."""
        generator, noise = self.publisher.generator("company"), self.publisher.generator("observe", 1)
        rest = torch.ones(len(images), dtype=torch.bool)
        rest[rows] = False
        others = torch.nonzero(rest).flatten()
        # Never all of them, or every call would have the same company.
        room = min(ROWS - len(rows), len(others) // 2)
        company, places = [], []
        for _ in range(CALLS):
            beside = others[torch.randperm(len(others), generator=generator)[:room]]
            order = torch.randperm(len(rows) + len(beside), generator=generator)
            company.append(torch.cat([rows, beside])[order])
            places.append(torch.argsort(order)[: len(rows)])
        found = self.publisher.releases(lambda: ((images[each], noise) for each in company))
        return torch.stack([values[place] for values, place in zip(found, places, strict=True)])

    def _reads_otherwise(self) -> bool:
        """Whether the attacker's images read otherwise when they are published alone than all in one call."""
        pool = self.images_of["train"]
        rows = _spread(len(pool), ROWS)
        order, noise = self.publisher.generator("order"), self.publisher.generator("observe", 2)
        orders = [torch.randperm(len(rows), generator=order) for _ in range(CALLS)]
        found = self.publisher.releases(lambda: ((pool[rows[each]], noise) for each in orders))
        mixed = [values[torch.argsort(each)] for values, each in zip(found, orders, strict=True)]
        return reads_otherwise(mixed, self._alone(pool[rows]), self.labels[rows], self.publisher.classes)


def _spread(n: int, most: int) -> Int64[Tensor, " m"]:
    """At most so many positions, evenly over n."""
    return torch.linspace(0, n - 1, min(most, n)).round().long()


def _comparable(values: Tensor) -> Tensor:
    return values.nan_to_num() if values.is_floating_point() else values
