"""Health flags of one contestant: what forbids that a gate holds, what drops it, and what informs."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from adversaries import health
from adversaries.goals.assess import PLANTED
from adversaries.health import FOUND, MISSED, NO_ROOM
from adversaries.statistics import estimates
from protocols.engine.task import Rows
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.results import Attempt

ROOM = 20
"""Targets, at least, that must be wrong on the release and carry the planted label, to tell finding it from luck."""


def health_flags(board: Leaderboard, contestant: Contestant) -> tuple[str, ...]:
    """All flags of one contestant by itself: power, honesty, and those that inform."""
    results, statistic, attempt = board.results, board.statistic, contestant.attempt
    competitor, largest = results.of(attempt), results.largest(attempt)
    flags = set(results.common) | set(board.dishonest(attempt))
    for outcome in results.measured(attempt, "attack"):
        flags |= set(outcome.flags)
    rows = board.rows(contestant)
    # Some seeds may be missing; then nothing limits the targets but the floor.
    everything = sys.maxsize if statistic.floor is None else len(statistic.floor)
    count = min((len(row) for row in rows), default=everything)
    floor = board.floor(count)
    ceilings = [statistic.value(row).low for row in board.rows(contestant._replace(attempt=largest), "ceiling")]
    raised = {
        "TOO_FEW_TARGETS": count < statistic.few,
        "CEILING_MISSED": not competitor.blind
        and (not ceilings or not all(_exceeds(low, floor.high) for low in ceilings)),
        "AT_FLOOR": not all(_exceeds(statistic.value(row).low, floor.value) for row in rows),
        "NOT_CONVERGED": board.unconverged(contestant),
        "BELOW_FLOOR": board.below_floor(attempt),
        "PLANTED_MISSED": _misses_planted(board, contestant),
        "CONVERGENCE_UNCHECKED": results.unchecked and competitor.trains,
    }
    flags |= {name for name, yes in raised.items() if yes}
    # Calibration trained to the end.
    if competitor.calibrated and attempt == largest and results.share(attempt) == 1.0:
        flags.discard("UNCALIBRATED")
    return tuple(sorted(flags))


def compared_with_planted(once: Rows, planted: Rows) -> str:
    """Whether an attack finds a planted leak: it is right more often than on the same targets without it.

    Args:
        once: right or wrong on the release.
        planted: right or wrong on the copy.
    """
    gained, lost = int((planted > once).sum()), int((planted < once).sum())
    if estimates.mcnemar(gained, lost) < health.LEVEL:
        return FOUND
    return MISSED if int((1 - once.astype(np.int64)).sum()) * PLANTED >= ROOM else NO_ROOM


def silence(board: Leaderboard, chosen: Contestant, attempts: Sequence[Attempt]) -> set[str]:
    """Doubts that remain although the chosen contestant itself has none."""
    if not board.results.of(chosen.attempt).blind:
        # Without its control nothing says whether the choice is honest.
        return {"CRASHED"} if board.results.uncontrolled(chosen.attempt) else set()
    # The floor's guesser won: that says something only if somebody who looks at releases was able to see.
    seeing = board.choose(board.seeing(attempts))
    return {"CEILING_MISSED"} if seeing is None else set(health_flags(board, seeing)) & set(health.POWER)


def orders(
    board: Leaderboard, by_level: Sequence[Sequence[Attempt]], by_budget: Sequence[Sequence[Attempt]]
) -> dict[Attempt, set[str]]:
    """WEAKER_THAN_LOWER_LEVEL and BUDGET_NOT_MONOTONE, between the strongest of levels and of budgets.

    Args:
        board: who is strongest.
        by_level: who competes at each level, from the lowest.
        by_budget: who competes with each budget, from the smallest.
    """
    found: dict[Attempt, set[str]] = defaultdict(set)
    for flag, groups in (("WEAKER_THAN_LOWER_LEVEL", by_level), ("BUDGET_NOT_MONOTONE", by_budget)):
        row = [chosen for group in groups if (chosen := board.choose(group)) is not None]
        for position, later in enumerate(row):
            if any(earlier != later and board.clearly_above(earlier, later) for earlier in row[:position]):
                found[later.attempt].add(flag)
    return found


def _exceeds(number: float | None, limit: float | None) -> bool:
    return number is not None and limit is not None and number > limit


def _misses_planted(board: Leaderboard, contestant: Contestant) -> bool:
    """Whether a label planted in a copy of the release is not found, although there was room to find it.

    Found is what beats the floor, or on the same targets the attack on the release itself.
    """
    largest = contestant._replace(attempt=board.results.largest(contestant.attempt))
    for planted, once in zip(board.rows(largest, "planted"), board.rows(largest), strict=False):
        floor = board.floor(len(once)).value or 0.0
        room = int((1 - once).sum()) * PLANTED
        above = [board.statistic.value(rows, alpha=health.LEVEL).low or 0.0 for rows in (planted, once)]
        gained, lost = int((planted > once).sum()), int((planted < once).sum())
        if room >= ROOM and max(above) <= floor and estimates.mcnemar(gained, lost) >= health.LEVEL:
            return True
    return False
