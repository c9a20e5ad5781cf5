"""Health flags: doubts about an attack, as data. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, get_args

TRUE_LABELS = "TRUE_LABELS"
POWER: dict[str, str] = {
    "CEILING_MISSED": "the adversary finds nothing even on the images themselves, so its silence means nothing",
    "NOT_CONVERGED": "twice the training makes the attack clearly stronger, so it was stopped too early",
    "ZERO_GRADIENT": "the attack's gradient was exactly zero, so it never learned",
    "TOO_FEW_TARGETS": "too few targets to conclude",
    "PLANTED_MISSED": "a label planted in a copy of the release is missed, so silence about the release means little",
    "CALL_DEPENDENT": "a release depends on the call in which it was published, so other calls may show other releases",
    TRUE_LABELS: "the defense was told the true labels of what it publishes, the targets among it, so nobody can do as "
    "well as its target model does here",
    "CRASHED": "an adversary crashed, and might have been the strongest",
    "TARGET_UNMATCHED": "no adversary with all labels reads the release nearly as well as its target model does, so "
    "the attacks are too weak here or there is a secret",
    "TARGET_UNKNOWN": "no target model is known to read the release, so nothing shows that the attacks could",
    "BELOW_FLOOR": "an adversary is right less often than its guesses would be by chance, so turned around it knows "
    "something",
    "ONE_DRAW": "the attacker's labels were drawn once, so the luck of that draw is in no bound",
    "MOSTLY_NONFINITE_RELEASE": "most rows of the release hold NaN or infinite numbers, which no attack reads",
}
"""Flags that forbid that a gate holds."""

HONESTY: dict[str, str] = {
    "SHUFFLED_ABOVE_CHANCE": "the adversary beats chance on shuffled labels, so it sees what it must not",
    "SPLIT_OVERLAP": "the same image is in the attacker's pool and among the targets",
    "NONFINITE_GUESS": "the adversary's guesses are not finite numbers",
}
"""Flags that drop the adversary and forbid that a gate holds."""

INFORMING: dict[str, str] = {
    "SELECTION_MISSED": "another candidate is clearly stronger on the targets than the one chosen on validation",
    "RANDOM_RELEASE": "two releases of one image differ",
    "NONFINITE_RELEASE": "the release holds NaN or infinite numbers",
    "OUT_OF_BOUNDS": "the release leaves the range [0, 1] of an image or the range that it declares",
    "WEAKER_THAN_LOWER_LEVEL": "an adversary of a lower level is clearly stronger than the best of this level",
    "BUDGET_NOT_MONOTONE": "more labels made the chosen attack clearly weaker",
    "AT_FLOOR": "the attack is not above the floor",
    "BELOW_BOUND": "the attack beats a lower bound on its error, so that bound is void",
    "UNCALIBRATED": "no calibration was shipped for this adversary at these settings",
    "CONVERGENCE_UNCHECKED": "nobody checked whether more training makes the attack stronger",
}
"""Flags that inform and decide nothing."""

MEANINGS: dict[str, str] = {**POWER, **HONESTY, **INFORMING}

LEVEL = 0.001
"""Flags are tests at this level, divided by the number of cells."""

FOUND_IN, OF = 28, 30
"""A known leak is found if an alarm is raised in so many runs of so many."""


def forbids_holding(flags: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some flags that forbid that a gate holds."""
    return tuple(flag for flag in flags if flag in POWER or flag in HONESTY)


Kind = Literal["signs", "residue", "scale", "offset", "patch"]
KINDS: tuple[Kind, ...] = get_args(Kind)

PLANTS: Mapping[Kind, str] = {
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
    "offset": ("row-views",),
    "patch": ("bag",),
}
"""Adversaries that read what each is made of."""

HARD = "planted:"
"""Names of arms in which such a leak is planted begin so, and end in its kind."""

FOUND, MISSED, NO_ROOM, UNREAD = "found", "not found", "no room to find it", "not read"
"""What is said of an attack on such a copy, compared with the same on the release, or where it cannot be run."""


def overlooked(said: Collection[str]) -> bool:
    """Whether nobody found a planted leak although there was room, or nobody could look.

    Args:
        said: of every attack that looked for it and is honest.
    """
    return FOUND not in said and (MISSED in said or NO_ROOM not in said)
