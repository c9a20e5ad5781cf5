"""Who goes on in a race: rounds of growing training, after each of which the weaker half of a family stops.

A family is one adversary that starts from several models. Its best always goes on, so that a slow kind of learner is
never compared with a fast one; only the choice of the model is made early. Whoever has no siblings is run whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adversaries.statistics import estimates

Rows = np.ndarray[Any, np.dtype[Any]]
"""Numbers, one per image."""

LEVEL = 0.05
"""A family whose best is not above chance at this level has learned nothing yet, so nobody of it stops."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How one member of a family did in a round.

    Args:
        rows: numbers per row of the attacker's validation part; higher is better. Of several seeds the mean, because
            the same row tried again is no further row.
        chance: share of right rows without the release, or None where rows are not right or wrong.
    """

    rows: Rows
    chance: float | None = None

    @classmethod
    def of(cls, seeds: Sequence[Rows], chance: float | None = None) -> Runner:
        """A member by its rows of every seed.

        Args:
            seeds: numbers per row of the validation part, in the same order for every seed.
            chance: see the class.
        """
        return cls(rows=np.mean([np.asarray(rows, np.float64) for rows in seeds], axis=0), chance=chance)


def going_on(runners: Sequence[Runner]) -> list[int]:
    """Positions of those who go on to the next round, in the order given.

    The better half goes on, rounded down, and at least the best. So do those who come so close to the last of that half
    that their difference on the same rows is within one standard error, but at most as many again. While the best is
    not above chance ranks say nothing, and everybody goes on.

    Args:
        runners: the members of one family that are still in the race; of equals the earlier is the better.
    """
    everybody = list(range(len(runners)))
    if len(runners) < 2:
        return everybody
    ranked = sorted(everybody, key=lambda position: -_mean(runners[position].rows))
    if not _learned(runners[ranked[0]]):
        return everybody
    places = max(1, len(runners) // 2)
    last = runners[ranked[places - 1]].rows
    close = [position for position in ranked[places:] if _close(last, runners[position].rows)]
    return sorted(ranked[:places] + close[:places])


def _mean(rows: Rows) -> float:
    return float(np.mean(rows, dtype=np.float64))


def _learned(runner: Runner) -> bool:
    """Whether somebody is above chance."""
    if runner.chance is None:
        return True
    # Means over seeds have whole sums only by chance; what is left over counts for nothing.
    hits, n = int(np.sum(runner.rows, dtype=np.float64) + 1e-6), len(runner.rows)
    return estimates.binomial_upper_tail(hits, n, runner.chance) < LEVEL


def _close(better: Rows, worse: Rows) -> bool:
    """Whether the mean difference on the same rows is within one standard error of 0."""
    if len(better) != len(worse):
        return True
    gaps = np.asarray(better, np.float64) - np.asarray(worse, np.float64)
    return bool(gaps.mean() <= gaps.std() / np.sqrt(max(1, len(gaps))))
