"""Who attacks the task label in other protocols than the ladder's, and how they enter its choice of the strongest.

From `--threat L3` on `adaptive.*` is about everybody: also those who rebuild images and have them read, and those who
know the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from protocols.board import Attempt, Board, Entry
from protocols.candidate import Candidate
from protocols.cells import Outcome
from protocols.score_board import Aspect, ScoreBoard


class Where(NamedTuple):
    """Which of an adversary's outcomes."""

    arm: str
    seed: int
    doubled: bool


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One adversary, with everything that is known of it at its largest budget.

    Args:
        candidate: who.
        level: its threat level.
        reads: whether the shuffled control applies.
        outcomes: of all arms, seeds and doubling checks.
    """

    candidate: Candidate
    level: str
    reads: bool
    outcomes: Mapping[Where, Outcome]


def from_board(board: Board) -> list[Rival]:
    """Everybody of a board on the task label, at its largest number of labels."""
    return [
        Rival(
            candidate=candidate,
            level=board.levels[position],
            reads=position in board.readers,
            outcomes={
                Where(entry.arm, entry.seed, entry.doubled): outcome
                for entry, outcome in board.outcomes.items()
                if entry.attempt.candidate == position and entry.attempt.labels in (None, board.grid[-1])
            },
        )
        for position, candidate in enumerate(board.candidates)
    ]


def from_scores(board: ScoreBoard, aspect: Aspect, targets: int) -> list[Rival]:
    """Everybody whose reconstructions clean models read, with the most pairs, once for every model.

    Whoever could afford only some of the targets stays apart, since all others are graded on all of them.

    Args:
        board: outcomes on reconstructions.
        aspect: the reading of the label.
        targets: how many there are.
    """
    found = []
    for attempt in board.tried():
        if attempt.candidate in board.blind or attempt != board.largest(attempt):
            continue
        candidate, honesty = board.candidates[attempt.candidate], board.dishonest(attempt)
        for model in filter(None, aspect.variants):
            outcomes = {
                Where(spot.arm, spot.seed, spot.doubled): _reading(outcome, f"{aspect.array}.{model}", honesty)
                for spot, outcome in board.outcomes.items()
                if spot.attempt == attempt
            }
            if any(outcome.status == "measured" and len(outcome.targets) != targets for outcome in outcomes.values()):
                continue
            found.append(
                Rival(
                    candidate=Candidate(
                        adversary=candidate.adversary, settings={**candidate.settings, "read_by": model}
                    ),
                    level=board.levels[attempt.candidate],
                    reads=True,
                    outcomes=outcomes,
                )
            )
    return found


def let_in(board: Board, rivals: Iterable[Rival]) -> None:
    """Let rivals compete on a board; in place."""
    for rival in rivals:
        position = board.add(rival.candidate, rival.level, reads=rival.reads)
        attempt = Attempt(position, board.grid[-1] if board.learns(position) else None)
        for where, outcome in rival.outcomes.items():
            board.outcomes[Entry(attempt, where.arm, where.seed, where.doubled)] = outcome


def _reading(outcome: Outcome, array: str, honesty: tuple[str, ...]) -> Outcome:
    """What a model read off reconstructions, as right and wrong about the label."""
    if outcome.status != "measured":
        return outcome
    validation, targets = (outcome.arrays[f"{part}.{array}"].astype(np.uint8) for part in ("validation", "targets"))
    return Outcome(
        status="measured",
        validation=validation,
        targets=targets,
        chance=float(outcome.arrays["targets.majority"][0]),
        flags=tuple(sorted({*outcome.flags, *honesty})),
        cost=outcome.cost,
    )
