"""Kinds of leaks that common readers miss, which every run plants in a copy of its releases. Imports no torch."""

# Structure: calibration does not count it.

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Kind = Literal["signs", "residue", "scale", "offset", "patch"]
KINDS: tuple[Kind, ...] = get_args(Kind)

MEANINGS: Mapping[Kind, str] = {
    "signs": "products of three signs",
    "residue": "the residue of a number",
    "scale": "a pattern whose rows have scales of their own",
    "offset": "a pattern under an offset that every call draws",
    "patch": "a small patch that lies anywhere",
}

READERS: Mapping[Kind, tuple[str, ...]] = {
    "signs": ("products",),
    "residue": ("residues",),
    "scale": ("row-views",),
    "offset": ("row-views", "ranks"),
    "patch": ("bag",),
}
"""Adversaries that read what each is made of."""

HARD = "planted:"
"""Names of arms in which such a leak is planted begin so, and end in its kind."""

FOUND, MISSED, NO_ROOM = "found", "not found", "no room to find it"
"""What is said of an attack on such a copy, compared with the same attack on the release."""
