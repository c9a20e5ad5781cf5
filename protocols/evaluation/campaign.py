"""One attack on one goal: which cells are needed, stage after stage, until every choice has its controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from adversaries.adversary import ADVERSARIES
from protocols.engine.budget import Budget
from protocols.engine.handles import EvaluationHandle
from protocols.engine.prepared import Digests
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.engine.trial import Cell
from protocols.evaluation.board import Attempt, Board, Entry
from protocols.evaluation.candidate import Candidate
from vfc.config import configured

TRANSFORMS = ("gray", "jpeg", "blur", "flip", "down-up")


@dataclass(kw_only=True)
class Campaign:
    """Runs the cells of one board.

    Args:
        board: who competes; outcomes are entered here.
        goal: name of the goal.
        place: the world that is attacked; `undefended` likewise, or None.
        digests: of both worlds, and of the first without its releases.
        budget: how much to spend.
        cells: folder of finished cells.
        ceilings: folder of finished ceiling cells; they depend on no release, so runs may share them.
        runner: where cells are done.
    """

    board: Board
    goal: str
    place: EvaluationHandle
    undefended: EvaluationHandle | None
    digests: Digests
    budget: Budget
    cells: Path
    ceilings: Path
    runner: TaskRunner

    def run(self, levels: Sequence[str]) -> None:
        """All stages."""
        board = self.board
        attempts = list(dict.fromkeys(a for labels in board.grid for a in board.attempts(labels, twin=True)))
        largest = [a for a in attempts if a == board.largest(a)]
        entries = self._entries(attempts, "attack")
        entries += self._entries(attempts if self.budget.ceiling_everywhere else largest, "ceiling")
        if self.budget.shuffle_all:
            entries += self._entries(filter(self._reads_labels, largest), "shuffled")
        self._compute("attacks", entries)
        self._transforms(levels)
        self._double(attempts)
        self._controls(levels)

    def control(self, attempts: Iterable[Attempt]) -> bool:
        """The doubling checks and shuffled controls of further attempts that a number comes from.

        Returns:
            Whether any of them was missing.
        """
        board, known = self.board, len(self.board.outcomes)
        controlled = list(dict.fromkeys(board.largest(attempt) for attempt in attempts))
        entries = self._entries(filter(self._reads_labels, controlled), "shuffled")
        if self.budget.doubling != "none":
            entries += self._entries(filter(self._doubles, controlled), "attack", doubled=True)
        self._compute("controls", entries)
        return len(board.outcomes) > known

    def _transforms(self, levels: Sequence[str]) -> None:
        """Input transforms in front of the chosen adversary, or of all, at the largest K."""
        board, labels = self.board, self.board.grid[-1]
        if self.budget.transforms == "none":
            return
        learned = [a for a in board.attempts(labels, levels=levels) if self._reads_labels(a)]
        inner: list[Attempt | None] = list(learned)
        if self.budget.transforms == "chosen":
            # The ceiling is chosen in the same way, so its own choice is transformed too.
            inner = [board.choose(learned), board.choose(learned, "ceiling")]
        entries = []
        for attempt in dict.fromkeys(inner):
            if attempt is None:
                continue
            of = board.candidates[attempt.candidate]
            for transform in TRANSFORMS:
                settings = {"transform": transform, "inner": of.adversary, "options": dict(of.settings)}
                candidate = Candidate(adversary="input-transform", settings=settings)
                added = Attempt(board.add(candidate, board.levels[attempt.candidate], reads=True), labels)
                entries += [e for arm in ("attack", "ceiling", "shuffled") for e in self._entries([added], arm)]
        self._compute("input transforms", entries)

    def _double(self, attempts: Sequence[Attempt]) -> None:
        """Twice the training for all; for the chosen ones alone it is one of their controls."""
        trained = [attempt for attempt in attempts if self._doubles(attempt)]
        if self.budget.doubling == "none":
            self.board.unchecked = True
            self.board.trained = frozenset(attempt.candidate for attempt in trained)
        if self.budget.doubling == "all":
            self._compute("doubling checks", self._entries(trained, "attack", doubled=True))

    def _controls(self, levels: Sequence[str]) -> None:
        """Shuffled, undefended and planted arms of all that a number comes from: choices, missed rivals and ceilings.

        A choice dropped for dishonesty makes room for the next, which needs its controls too.
        """
        board = self.board
        for _ in range(len(board.candidates)):
            groups = board.groups(levels)
            used = [(board.choose(group), group) for group in groups]
            rivals = [rival for chosen, group in used if chosen is not None for rival in board.missed(chosen, group)]
            ceilings = [board.choose(group, "ceiling") for group in groups]
            wanted = [a for a in (*(chosen for chosen, _ in used), *rivals, *ceilings) if a is not None]
            controlled = dict.fromkeys(board.largest(a) for a in wanted)
            entries = self._entries((a for a in controlled if a.candidate in board.readers), "shuffled")
            top = board.choose(board.attempts(board.grid[-1], levels=levels))
            if self.budget.doubling == "chosen":
                doubling = [chosen for chosen, _ in used if chosen is not None and self._doubles(chosen)]
                entries += self._entries(doubling, "attack", doubled=True)
            if self.undefended is not None and top is not None:
                entries += self._entries([top], "undefended")
            if top is not None and board.levels[top.candidate] == "L2":
                entries += self._entries([top], "planted")
            entries = [entry for entry in entries if entry not in board.outcomes]
            if not entries:
                return
            self._compute("controls", entries)

    def _doubles(self, attempt: Attempt) -> bool:
        """Whether twice the training means anything for this adversary."""
        cell = self._cell(Entry(attempt, "attack", self.board.seeds[0]))
        return cell.make_adversary().doubled() is not None

    def _reads_labels(self, attempt: Attempt) -> bool:
        return attempt.candidate in self.board.readers

    def _entries(self, attempts: Iterable[Attempt], arm: str, *, doubled: bool = False) -> list[Entry]:
        return [Entry(attempt, arm, seed, doubled) for attempt in attempts for seed in self.board.seeds]

    def _cell(self, entry: Entry) -> Cell:
        candidate = self.board.candidates[entry.attempt.candidate]
        digests = {"undefended": self.digests.undefended, "ceiling": self._ceiling_digest(candidate)}
        return Cell(
            adversary=candidate.adversary,
            settings=dict(candidate.settings),
            level=self.board.levels[entry.attempt.candidate],
            labels_per_class=entry.attempt.labels,
            goal=self.goal,
            arm=entry.arm,
            seed=entry.seed,
            doubled=entry.doubled,
            world=digests.get(entry.arm, self.digests.world),
        )

    def _ceiling_digest(self, candidate: Candidate) -> str:
        """What a ceiling depends on: releases count only through the predictions that some are told."""
        adversary = configured(ADVERSARIES.get(candidate.adversary), candidate.settings, candidate.adversary)
        if self.goal.startswith("task:") or not adversary.uses_prediction:
            return self.digests.clean
        return self.digests.informed or self.digests.world

    def _compute(self, name: str, entries: Sequence[Entry]) -> None:
        """Do what no outcome is known of; slow ones first, so that no core waits at the end."""
        entries = [entry for entry in dict.fromkeys(entries) if entry not in self.board.outcomes]
        entries.sort(key=self._guessed_cost, reverse=True)
        orders = []
        for entry in entries:
            candidate = self.board.candidates[entry.attempt.candidate].name
            orders.append(
                QueuedTask(
                    task=self._cell(entry),
                    place=self.undefended if entry.arm == "undefended" and self.undefended else self.place,
                    folder=self.ceilings if entry.arm == "ceiling" else self.cells,
                    title=f"{candidate}, K = {entry.attempt.labels}, {entry.arm}",
                )
            )
        for entry, outcome in zip(entries, self.runner.run(name, orders), strict=True):
            self.board.outcomes[entry] = outcome

    def _guessed_cost(self, entry: Entry) -> float:
        """Only an order: networks with many labels take longest."""
        labels = entry.attempt.labels
        many = 1e6 if labels == "all" else float(labels or 0)
        slow = self.board.candidates[entry.attempt.candidate].adversary in ("fine-tune", "adapter", "cnn", "entropy")
        return many + (1e9 if slow else 0.0)
