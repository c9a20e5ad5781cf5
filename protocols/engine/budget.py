"""What each budget name stands for. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vfc.errors import unknown

Labels = int | Literal["all"]

BALLS: Mapping[str, tuple[str, ...]] = {"linf": ("4/255", "8/255", "16/255"), "l2": ("0.25", "0.5", "1")}
"""Radii of the balls as `evasion.accuracy@EPS` writes them: fractions of 255 are l-inf, decimals are l2."""

RADII = tuple(radius for radii in BALLS.values() for radius in radii)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a run spends on attacks and on their controls.

    Args:
        name: smoke, standard or full.
        labels: the grid of labelled releases per class; the last is the largest.
        seeds: attack seeds.
        draws: sets of labelled releases that are drawn where not all are granted, over all seeds.
        draw_all: whether everybody is tried with every draw; otherwise the chosen adversary and those within its
            interval.
        transforms: input transforms on no candidate, on the chosen adversary, or on all.
        doubling: whether the chosen adversary, or all, are fitted again with twice the training.
        ceiling_everywhere: ceiling arm at every K; otherwise at the largest only.
        shuffle_all: shuffled refit of every adversary; otherwise of the chosen one only.
        shadows: shadow defenses for membership.
        rounds: shares of the whole training, ascending up to 1, after which those who cannot win stop.
    """

    name: str
    labels: tuple[Labels, ...]
    seeds: int
    draws: int
    draw_all: bool
    transforms: Literal["none", "chosen", "all"]
    doubling: Literal["none", "chosen", "all"]
    ceiling_everywhere: bool
    shuffle_all: bool
    shadows: int
    rounds: tuple[float, ...] = (1.0,)


_BUDGETS = (
    Budget(
        name="smoke",
        labels=(1, 10, "all"),
        seeds=1,
        draws=1,
        draw_all=False,
        transforms="none",
        doubling="none",
        ceiling_everywhere=False,
        shuffle_all=False,
        shadows=0,
        rounds=(0.125, 1.0),
    ),
    Budget(
        name="standard",
        labels=(1, 5, 10, 50, "all"),
        seeds=1,
        draws=3,
        draw_all=False,
        transforms="chosen",
        doubling="chosen",
        ceiling_everywhere=False,
        shuffle_all=True,
        shadows=4,
        rounds=(0.125, 0.25, 1.0),
    ),
    Budget(
        name="full",
        labels=(1, 5, 10, 50, "all"),
        seeds=5,
        draws=10,
        draw_all=True,
        transforms="all",
        doubling="all",
        ceiling_everywhere=True,
        shuffle_all=True,
        shadows=16,
    ),
)
BUDGETS = {budget.name: budget for budget in _BUDGETS}


def get_budget(name: str) -> Budget:
    """The budget called `name`; raises `UserError` for an unknown one."""
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    return BUDGETS[name]
