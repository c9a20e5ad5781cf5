"""What every adversary is, whatever it is after: settings, at a level of knowledge."""

# Structure: calibration does not count it.

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

from adversaries.threat import Level

A = TypeVar("A", bound="Attacker")  # typing.Self, which beartype refuses on methods decorated one by one


@dataclass(frozen=True, kw_only=True)
class Attacker(ABC):
    """Base of all adversaries. None of them grades itself.

    Settings are keyword-only dataclass fields; budgets are in steps, labels, pairs and queries, never in seconds.

    Class attributes:
        level: the lowest threat level that grants what the adversary needs.
        needs_image_shape: whether it can only read releases shaped like images.
        per_model: whether there is one candidate for each unintended model (then there is a field `model`).
        trains_on_labels: whether fitting reads labels of releases, so that the shuffled control applies.
    """

    level: ClassVar[Level]
    needs_image_shape: ClassVar[bool] = False
    per_model: ClassVar[bool] = False
    trains_on_labels: ClassVar[bool] = True

    def doubled(self: A) -> A | None:
        """The same adversary with twice the training; None if it does not train by gradient steps."""
        return None

    def settings(self) -> dict[str, Any]:
        """The settings as JSON-ready data."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
