"""Evidence as data: what was measured, beside its controls. Imports no torch.

Every number is a `Value`; a number that could not be had is a `Value` of nulls with its reason, never NaN and never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Status = Literal["measured", "not_applicable", "not_run", "failed"]
Arm = Literal["attack", "floor", "ceiling", "shuffled", "undefended"]
ARMS: tuple[Arm, ...] = get_args(Arm)
"""The measured number and its controls, in the order in which they are shown."""


def adversary_name(adversary: str, settings: Mapping[str, Any]) -> str:
    """An adversary with its settings, fit for people: those that are words, and those of the adversary that it wraps.

    Args:
        adversary: registered name.
        settings: its options; `options` holds those of the adversary inside it.
    """
    inner = settings.get("options")
    values = [*settings.values(), *(inner.values() if isinstance(inner, Mapping) else ())]
    return " ".join([adversary, *(value for value in values if isinstance(value, str))])


class Record(BaseModel):
    """Base of everything that is written to a report: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Value(Record):
    """One number with its interval.

    `low` and `high` are each a 95 % one-sided bound (confidence .90 two-sided) unless `confidence` says otherwise.
    `counts` or `rows` (a key of the sidecar) let any other level be recomputed with the statistic named in `method`.
    A number that one of several adversaries gave says which (`candidate`), which adversaries are clearly stronger on
    the target images (`also`), and what the others gave that could decide a gate (`others`), each with whether its
    shuffled control ran clean (`controlled`). A number of labels keeps the `curve` that it was read
    off, a mean over several draws of labelled releases the `draws`.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int = 0
    confidence: float = 0.90
    unit: str = "rate"
    method: str = ""
    counts: dict[str, int] | None = None
    rows: str | None = None
    per_seed: tuple[float, ...] = ()
    censored: bool = False
    reason: str | None = None
    flags: tuple[str, ...] = ()
    also: tuple[Value, ...] = ()
    candidate: str | None = None
    controlled: bool = True
    others: tuple[Value, ...] = ()
    curve: tuple[Step, ...] = ()
    draws: tuple[Value, ...] = ()

    @field_validator("value", "low", "high")
    @classmethod
    def _finite(cls, number: float | None) -> float | None:
        if number is not None and not math.isfinite(number):
            raise ValueError("expected a finite number or null")
        return number

    @model_validator(mode="after")
    def _possible(self) -> Value:
        """Refuse what no measurement can give; a bound computed from it would look like any other."""
        numbers = [number for number in (self.value, self.low, self.high) if number is not None]
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low <= high, got {self.low} and {self.high}")
        if self.n < 0:
            raise ValueError(f"expected n >= 0, got {self.n}")
        # The mean of rates is one, but bounds of Student's t know nothing of its limits.
        limited = [self.value] if "Student's t" in self.method else numbers
        if self.unit == "rate" and any(number is not None and not 0 <= number <= 1 for number in limited):
            raise ValueError(f"expected a rate in [0, 1], got {limited}")
        if self.unit == "rate" and self.value is not None and self.n == 0 and self.method != "exact":
            raise ValueError("expected n > 0 beside a rate, got 0")
        # Those of several seeds, `0/k` and so on, have an n each.
        counts = {name: count for name, count in (self.counts or {}).items() if "/" not in name}
        if any(count < 0 or count > self.n for count in counts.values()):
            raise ValueError(f"expected counts between 0 and n = {self.n}, got {counts}")
        return self

    @classmethod
    def unknown(cls, reason: str, *, unit: str = "rate", flags: tuple[str, ...] = ()) -> Value:
        """A number that could not be had, with the reason."""
        return cls(value=None, low=None, high=None, unit=unit, reason=reason, flags=flags)


class Step(Record):
    """One point of a curve over labels: how far every candidate is beyond the goal, the chosen one first."""

    labels: float
    margins: tuple[Value, ...]


class AttackBudget(Record):
    """What an adversary may spend; null where the resource plays no part."""

    labels_per_class: int | Literal["all"] | None = None
    pairs: int | None = None
    queries: int | None = None
    releases: int | None = None
    steps: int | None = None


class Threat(Record):
    """The threat model as the report says it."""

    level: str
    knows: tuple[str, ...]
    budget: AttackBudget = AttackBudget()


class Arms(Record):
    """The measured number beside its controls; null where an arm does not apply."""

    attack: Value | None = None
    floor: Value | None = None
    ceiling: Value | None = None
    shuffled: Value | None = None
    undefended: Value | None = None

    def get(self, arm: Arm) -> Value | None:
        """One of them by name."""
        found: dict[Arm, Value | None] = {
            "attack": self.attack,
            "floor": self.floor,
            "ceiling": self.ceiling,
            "shuffled": self.shuffled,
            "undefended": self.undefended,
        }
        return found[arm]


class Cost(Record):
    """What a measurement took. Not part of the digest."""

    seconds: float = 0.0
    gradient_steps: int = 0
    queries: int = 0
    peak_bytes: int = 0


class Evidence(Record):
    """One adversary under one threat model against one goal."""

    protocol: str
    adversary: str
    goal: str
    threat: Threat
    seed: int
    status: Status
    reason: str | None = None
    arms: Arms = Arms()
    metrics: dict[str, Value] = Field(default_factory=dict)
    health: tuple[str, ...] = ()
    chosen: bool = False
    cost: Cost = Cost()
    settings: dict[str, Any] = Field(default_factory=dict)
