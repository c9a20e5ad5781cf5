"""What many attacks leave of a target model: the worst case per target, and which of two results is clearly worse.

Axes: a attacks, n targets. Rows are 1 where the label is still predicted, else 0. Torch-free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adversaries.health import LEVEL
from adversaries.statistics import estimates

Rows = NDArray[np.uint8]

CONVERGENCE_MARGIN = 0.02
"""Twice the steps may lower the accuracy by this much more before an attack counts as not converged."""


def worst_case(
    right: Sequence[Rows], share: Sequence[NDArray[np.floating]], margin: Sequence[NDArray[np.floating]]
) -> Rows:
    """Per target the result of the attack that scored worst before grading.

    Grading draws a release that no choice has seen, so that choosing among many attacks is no luck of the draw.

    Args:
        right: per attack, what was graded; each (n,).
        share, margin: what attacks are compared by, the first first; the lower the worse.
    """
    winner = np.lexsort((np.stack(margin), np.stack(share)), axis=0)[0]
    worst: Rows = np.take_along_axis(np.stack(right), winner[None], axis=0)[0]
    return worst


def clearly_below(worst: Rows, floor: Rows) -> bool:
    """Whether fewer targets are right under attack than after a random step, bound against bound."""
    low = estimates.rate(int(floor.sum()), len(floor)).low
    high = estimates.rate(int(worst.sum()), len(worst)).high
    return low is not None and high is not None and high < low


def at_floor(worst: Rows | None, floor: Rows | None) -> bool:
    """Whether an attack is not clearly stronger than the random step that was measured."""
    if worst is None or floor is None:
        return False
    high = estimates.rate(int(worst.sum()), len(worst)).high
    return high is None or high >= float(floor.mean())


def above(right: Rows | None, other: Rows | None, comparisons: int) -> bool:
    """Whether more targets are right under the first than under the second, beyond chance for so many comparisons."""
    if right is None or other is None:
        return False
    more, less = int((right > other).sum()), int((right < other).sum())
    return estimates.mcnemar(more, less) < LEVEL / comparisons


def unconverged(doubled: Rows, once: Rows) -> bool:
    """Whether twice the steps leave clearly fewer targets right, by more than the margin."""
    gained, lost = int((doubled < once).sum()), int((doubled > once).sum())
    return (gained - lost) / len(once) > CONVERGENCE_MARGIN and estimates.mcnemar(gained, lost) < 0.05
