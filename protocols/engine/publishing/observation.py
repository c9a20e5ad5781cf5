"""Watching what a release does: publish some images again, with other randomness, alone or in other company."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from protocols.engine.publishing.calls import ROWS
from protocols.engine.publishing.dependence import differs, reads_otherwise, varies
from protocols.engine.publishing.publisher import Calls, Images, Publisher
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
            dependent = self._depends_on_call(images, rows)
        else:
            values = torch.cat([self.published[name] for name in self.images_of])
            dependent = differs(values[rows], torch.cat(publisher.releases(self._alone(some))))
        targets = self.published["targets"]
        return Observed.of_values(
            targets,
            declared_bounds=publisher.declared_bounds(some),
            declared_stochastic=bool(publisher.defense.stochastic),
            stochastic=stochastic,
            call_dependent=dependent,
            image_shaped=targets.shape == self.images_of["targets"].shape and targets.is_floating_point(),
        )

    def _alone(self, images: Images) -> Calls:
        """Calls of one image each."""
        generator = self.publisher.generator("observe", 1)
        return lambda: ((image, generator) for image in torch.split(images, 1))

    def _depends_on_call(self, images: Images, rows: Int64[Tensor, " m"]) -> bool:
        """Whether stochastic releases have something in common within a call, or read otherwise alone than in one.

        The first is asked of some rows in several calls, each time at other places among other images; the second of
        the attacker's images, published in several orders.
        """
        company, places = self._company(len(images), rows)
        pool = self.images_of["train"]
        read = _spread(len(pool), ROWS)
        order = self.publisher.generator("order")
        orders = [torch.randperm(len(read), generator=order) for _ in range(CALLS)]
        first, second = (self.publisher.generator("observe", turn) for turn in (1, 2))
        beside, mixed, alone = self.publisher.series(
            [
                lambda: ((images[each], first) for each in company),
                lambda: ((pool[read[each]], second) for each in orders),
                self._alone(pool[read]),
            ]
        )
        together = torch.stack([values[place] for values, place in zip(beside, places, strict=True)])
        in_order = [values[torch.argsort(each)] for values, each in zip(mixed, orders, strict=True)]
        labels = self.labels[read]
        return varies(together) or reads_otherwise(in_order, torch.cat(alone), labels, self.publisher.classes)

    def _company(
        self, n: int, rows: Int64[Tensor, " m"]
    ) -> tuple[list[Int64[Tensor, " l"]], list[Int64[Tensor, " m"]]]:
        """Which of n images are published in each of several calls, and where among them some rows stand."""
        generator = self.publisher.generator("company")
        rest = torch.ones(n, dtype=torch.bool)
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
        return company, places


def _spread(n: int, most: int) -> Int64[Tensor, " m"]:
    """At most so many positions, evenly over n."""
    return torch.linspace(0, n - 1, min(most, n)).round().long()


def _comparable(values: Tensor) -> Tensor:
    return values.nan_to_num() if values.is_floating_point() else values
