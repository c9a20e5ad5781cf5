"""One adversary with its options, as it competes with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adversaries.calibration.shipped import look_up
from adversaries.registries import ADVERSARIES
from vfc.config import configured


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One adversary with its options, as it competes with the others.

    Args:
        adversary: registered name.
        settings: its options; `model` names the unintended model that it starts from.
        headline: False for the near twin, which is reported apart and enters no headline number.
    """

    adversary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    headline: bool = True

    @property
    def name(self) -> str:
        """A name that no other candidate has, fit for people."""
        words = [str(value) for value in self.settings.values() if isinstance(value, str)]
        inner = self.settings.get("options")
        if isinstance(inner, Mapping):
            words += [str(value) for value in inner.values() if isinstance(value, str)]
        return " ".join([self.adversary, *words])

    @property
    def trains(self) -> bool:
        """Whether twice its training means anything."""
        return configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary).doubled() is not None


def calibrated(candidates: Sequence[Candidate], *, n: int, dataset: str) -> frozenset[int]:
    """Positions of those whose power is known from shipped calibration results.

    Args:
        candidates: with all their options.
        n: how many targets they are graded on.
        dataset: name of the data set.
    """
    return frozenset(
        position
        for position, each in enumerate(candidates)
        if look_up(each.adversary, each.settings, n=n, dataset=dataset).status == "calibrated"
    )
