"""The registry of the attacker's side, in a file that imports no torch, so that `vfc list` starts at once."""

# Structure: calibration does not count it.

from __future__ import annotations

from typing import TYPE_CHECKING

from vfc.registry import Registry

if TYPE_CHECKING:
    from adversaries.adversary import Adversary

ADVERSARIES: Registry[type[Adversary]] = Registry(
    "adversary",
    "adversaries.attacks",
    "ADVERSARIES",
    "vfc.adversaries",
    facts=("goals", "variants", "order", "length"),
)
"""Adversaries, by name; `adversaries.entries` says what the facts mean."""
