"""Objects that this process was handed, by the name under which settings speak of them. They never leave it."""

# Structure: calibration does not count it.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from vfc.data import Dataset
    from vfc.defense import Defense

DEFENSES_HELD: dict[str, Defense] = {}
"""Defenses by the text that `--release` would have for them."""

DATASETS_HELD: dict[str, Dataset] = {}
"""Data sets by the text that `--dataset` would have for them."""

FOLDERS_LENT: set[Path] = set()
"""Folders of runs that are gone when the run is over, so that nobody is told of them."""
