"""One attack that learns from pairs: which tasks are needed, stage after stage, until every choice has its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from protocols.engine.budget import Budget
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.paired_tasks import PairedTask
from protocols.evaluation.score_board import Aspect, Attempt, Contestant, ScoreBoard, Spot


class Kind(Protocol):
    """What a campaign must know of a candidate's class."""

    @property
    def learns_pairs(self) -> bool:
        """Whether it is tried with several numbers of pairs."""


@dataclass(kw_only=True)
class PairedCampaign:
    """Runs the tasks of one board.

    Args:
        board: who competes; outcomes are entered here.
        aspects: how outcomes are measured.
        kinds: the class of every candidate.
        budget: how much to spend.
        runner: where tasks are done.
        order: from a spot on the board to what is done there.
    """

    board: ScoreBoard
    aspects: Sequence[Aspect]
    kinds: Sequence[Kind]
    budget: Budget
    runner: TaskRunner
    order: Callable[[Spot], QueuedTask]

    def run(self, name: str) -> None:
        """All stages; `name` is how progress calls the attack."""
        board = self.board
        attempts = [
            Attempt(position, pairs)
            for position, kind in enumerate(self.kinds)
            for pairs in (board.grid if kind.learns_pairs else (None,))
        ]
        largest = [attempt for attempt in attempts if attempt == board.largest(attempt)]
        seeing = [attempt for attempt in largest if attempt.candidate not in board.blind]
        spots = self._spots(attempts, "attack")
        spots += self._spots(attempts if self.budget.ceiling_everywhere else seeing, "ceiling")
        if self.budget.shuffle_all:
            spots += self._spots(seeing, "shuffled")
        self._compute(name, spots)
        self._double(name, attempts)
        self._controls(name)

    def _double(self, name: str, attempts: Sequence[Attempt]) -> None:
        """Twice the training, for the chosen adversaries or for all."""
        trained = [attempt for attempt in attempts if attempt.candidate in self.board.trained]
        if self.budget.doubling == "none":
            self.board.unchecked = True
            return
        if self.budget.doubling == "chosen":
            used = {chosen.attempt for chosen in self._choices()}
            trained = [attempt for attempt in trained if attempt in used]
        self._compute(f"{name}, doubling checks", self._spots(trained, "attack", doubled=True))

    def _controls(self, name: str) -> None:
        """Shuffled arms of all that a number comes from. A dishonest choice makes room for the next."""
        board = self.board
        for _ in range(len(board.candidates)):
            wanted: dict[Attempt, None] = {}
            for aspect in self.aspects:
                contestants = board.contestants(aspect, board.tried())
                chosen = board.choose(aspect, contestants)
                open_eyed = [c for c in contestants if c.attempt.candidate not in board.blind]
                seeing = board.choose(aspect, open_eyed)
                # Others compare themselves with the best of those who were graded on all targets.
                whole = board.choose(aspect, [c for c in open_eyed if board.graded_on_all(aspect, c)])
                rivals = [] if chosen is None else board.missed(aspect, chosen, contestants)
                wanted |= {c.attempt: None for c in (chosen, seeing, whole, *rivals) if c is not None}
            needed = dict.fromkeys(board.largest(a) for a in wanted if a.candidate not in board.blind)
            spots = [spot for spot in self._spots(needed, "shuffled") if spot not in board.outcomes]
            if not spots:
                return
            self._compute(f"{name}, controls", spots)

    def _choices(self) -> list[Contestant]:
        board = self.board
        found = [board.choose(aspect, board.contestants(aspect, board.tried())) for aspect in self.aspects]
        return [chosen for chosen in found if chosen is not None]

    def _spots(self, attempts: Iterable[Attempt], arm: str, *, doubled: bool = False) -> list[Spot]:
        return [Spot(attempt, arm, seed, doubled) for attempt in attempts for seed in self.board.seeds]

    def _compute(self, name: str, spots: Sequence[Spot]) -> None:
        """Do what no outcome is known of; what costs most goes first, so that no core waits at the end."""
        spots = [spot for spot in dict.fromkeys(spots) if spot not in self.board.outcomes]
        spots.sort(key=self._guessed_cost, reverse=True)
        for spot, outcome in zip(spots, self.runner.run(name, [self.order(spot) for spot in spots]), strict=True):
            self.board.outcomes[spot] = outcome

    def _guessed_cost(self, spot: Spot) -> float:
        """Only an order: what trains takes longest, and longer on the release than on the images."""
        trains = spot.attempt.candidate in self.board.trained
        per_target = trains and not self.kinds[spot.attempt.candidate].learns_pairs
        return 4.0 * per_target + 2.0 * trains + (spot.attempt.pairs == self.board.grid[-1]) + (spot.arm != "ceiling")


def paired_order(
    task: type[PairedTask], context: Context, candidate: Candidate, level: str, spot: Spot, defense: str, **own: Any
) -> QueuedTask:
    """What is done at a spot.

    Args:
        task: the kind of task.
        context: what is attacked.
        candidate: who attacks.
        level: its threat level.
        spot: where the outcome stands.
        defense: digest of the fitted defense; only white-box adversaries are told.
        own: further fields of that kind of task.
    """
    pairs = "" if spot.attempt.pairs is None else f", {spot.attempt.pairs} pairs"
    return QueuedTask(
        task=task(
            adversary=candidate.adversary,
            settings=dict(candidate.settings),
            level=level,
            pairs=spot.attempt.pairs or "all",
            arm=spot.arm,
            seed=spot.seed,
            doubled=spot.doubled,
            task=context.prepared.parts.task,
            world=context.prepared.digests.world,
            defense=defense if level >= "L4" else "",
            **own,
        ),
        place=context.prepared.place,
        folder=context.cells,
        title=f"{candidate.name}{pairs}, {spot.arm}",
    )
