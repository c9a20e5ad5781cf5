"""Threat models as values: the ladder of knowledge L0 to L5."""

# Structure: calibration does not count it.

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal

from vfc.errors import unknown

Level = Literal["L0", "L1", "L2", "L3", "L4", "L5"]
"""A rung of the ladder of knowledge; each includes those below it."""

Labels = int | Literal["all"]
"""How many labelled releases per class, or pairs: a number, or the attacker's whole pool."""


class Grant(enum.Flag):
    """What an attacker may see. Every attacker owns clean, labelled images of its own pool."""

    IMAGES = enum.auto()
    MODELS = enum.auto()
    UNLABELLED = enum.auto()
    LABELLED = enum.auto()
    PAIRS = enum.auto()
    DEFENSE = enum.auto()
    TARGET = enum.auto()


_LADDER: dict[Level, Grant] = {
    "L0": Grant.IMAGES | Grant.MODELS,
    "L1": Grant.UNLABELLED,
    "L2": Grant.LABELLED,
    "L3": Grant.PAIRS,
    "L4": Grant.DEFENSE,
    "L5": Grant.TARGET,
}
LEVELS: tuple[Level, ...] = tuple(_LADDER)


def parse_level(text: str) -> Level:
    """A level name in canonical form; raises `UserError` for an unknown one."""
    for level in LEVELS:
        if text.upper() == level:
            return level
    raise unknown("threat level", text, LEVELS)


def grants(level: str) -> Grant:
    """Everything that a level grants, which includes all levels below it; raises `UserError` for an unknown one."""
    granted = Grant(0)
    for name in LEVELS[: LEVELS.index(parse_level(level)) + 1]:
        granted |= _LADDER[name]
    return granted


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """A threat model: a level of the ladder and a budget.

    Args:
        level: L0 to L5.
        labels_per_class: labelled releases per class from L2 on; "all" is the whole pool; None below L2.
        pairs: images of its own with their releases from L3 on; "all" is the whole pool.
    """

    level: Level
    labels_per_class: Labels | None = None
    pairs: Labels = "all"
    knows: Grant = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "knows", grants(self.level))
