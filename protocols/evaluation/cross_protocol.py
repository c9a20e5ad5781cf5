"""Who attacks the task label in other protocols than the ladder's, and how they enter its choice of the strongest.

From `--threat L3` on `adaptive.*` is about everybody: also those who rebuild images and have them read, and those who
know the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adversaries.health import HONESTY, LEVEL
from adversaries.statistics import estimates
from protocols.engine.trial import Outcome
from protocols.evaluation.board import Attempt, Board, Entry
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.score_board import Aspect, ScoreBoard


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
        trained: whether its training could be doubled.
        calibrated: whether its power is known from calibration.
        outcomes: of all arms, seeds and doubling checks.
    """

    candidate: Candidate
    level: str
    reads: bool
    trained: bool
    calibrated: bool
    outcomes: Mapping[Where, Outcome]

    def attacks(self) -> list[Outcome]:
        """Its measured attacks, one per seed."""
        found = {
            where.seed: each for where, each in self.outcomes.items() if where.arm == "attack" and not where.doubled
        }
        return [found[seed] for seed in sorted(found) if found[seed].status == "measured"]

    def graded_on(self, targets: int) -> bool:
        """Whether it was graded on all of so many targets, wherever it was graded."""
        measured = (outcome for outcome in self.outcomes.values() if outcome.status == "measured")
        return all(len(outcome.targets) == targets for outcome in measured)


def from_board(board: Board) -> list[Rival]:
    """Everybody of a board on the task label, at its largest number of labels."""
    return [
        Rival(
            candidate=candidate,
            level=board.levels[position],
            reads=position in board.readers,
            trained=position in board.trained,
            calibrated=position in board.calibrated,
            outcomes={
                Where(entry.arm, entry.seed, entry.doubled): outcome
                for entry, outcome in board.outcomes.items()
                if entry.attempt.candidate == position and entry.attempt.labels in (None, board.grid[-1])
            },
        )
        for position, candidate in enumerate(board.candidates)
    ]


def from_scores(board: ScoreBoard, aspect: Aspect) -> list[Rival]:
    """Everybody whose reconstructions clean models read, with the most pairs, once for every model.

    Args:
        board: outcomes on reconstructions.
        aspect: the reading of the label.
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
            found.append(
                Rival(
                    candidate=Candidate(
                        adversary=candidate.adversary, settings={**candidate.settings, "read_by": model}
                    ),
                    level=board.levels[attempt.candidate],
                    reads=True,
                    trained=attempt.candidate in board.trained,
                    calibrated=attempt.candidate in board.calibrated,
                    outcomes=outcomes,
                )
            )
    return found


def let_in(board: Board, rivals: Iterable[Rival]) -> None:
    """Let rivals compete on a board; in place."""
    for rival in rivals:
        position = board.add(rival.candidate, rival.level, reads=rival.reads)
        board.trained |= {position} if rival.trained else set()
        board.calibrated |= {position} if rival.calibrated else set()
        attempt = Attempt(position, board.grid[-1] if board.learns(position) else None)
        for where, outcome in rival.outcomes.items():
            board.outcomes[Entry(attempt, where.arm, where.seed, where.doubled)] = outcome


def stronger(board: Board, chosen: Attempt, rivals: Sequence[Rival]) -> list[Rival]:
    """Those who were graded on the first targets only, and are clearly above the chosen attempt on the same ones.

    Args:
        board: the chosen attempt's.
        chosen: who stands for everybody on the board.
        rivals: others, honest or not; those with an honesty flag prove nothing.
    """
    found = []
    for rival in rivals:
        theirs, ours = rival.attacks(), board.measured(chosen, "attack")
        if not ours or len(theirs) < len(ours) or any(set(outcome.flags) & set(HONESTY) for outcome in theirs):
            continue
        for outcome, other in zip(theirs, ours, strict=True):
            n = min(len(outcome.targets), len(other.targets))
            apart = outcome.targets[:n].astype(int) - other.targets[:n]
            gained, lost = int((apart > 0).sum()), int((apart < 0).sum())
            if gained > lost and estimates.mcnemar(gained, lost) < LEVEL / len(rivals):
                found.append(rival)
                break
    return found


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
