"""From a board of outcomes to the numbers of one attribute.

Axes: n targets, q questions (is it this class or another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adversaries import health
from adversaries.evidence import Value
from adversaries.goals.label import NOT_GRADED
from adversaries.statistics import levels
from adversaries.statistics.worst_class import worst_class_leakage
from protocols.engine.trial import Outcome
from protocols.evaluation.board import Attempt, Board, Rows
from protocols.evaluation.label_metrics import LabelMetrics, TargetRows


@dataclass(frozen=True, kw_only=True)
class AttributeMetrics:
    """Computes the metrics of one attribute.

    Args:
        board: the outcomes.
        questions: the class that each column of `floors` and of the outcomes' `classes` arrays asks about.
        floors: right (1), wrong (0) or not graded (2) without the release, shape (n, q).
        few: fewer graded targets than this raise TOO_FEW_TARGETS.
        rows: arrays of the sidecar.
    """

    board: Board
    questions: tuple[int, ...]
    floors: Rows
    few: int
    rows: dict[str, Rows]

    @property
    def frozen(self) -> list[Attempt]:
        """The clean attribute models on the release as it is."""
        board = self.board
        return [a for a in board.attempts(levels=("L0",)) if board.candidates[a.candidate].adversary == "frozen"]

    def largest(self, levels: Sequence[str]) -> list[Attempt]:
        """Everybody of some levels, at the largest number of labels."""
        return self.board.attempts(self.board.grid[-1], levels=levels)

    def all(self, label: str, levels: Sequence[str]) -> dict[str, Value]:
        """`attribute.<label>.*`.

        Args:
            label: the attribute.
            levels: of the adversaries that count.
        """
        name, largest = f"attribute.{label}", self.largest(levels)
        numbers = self._numbers(self.board, self.rows)
        return {
            f"{name}.accuracy": numbers.accuracy(largest),
            f"{name}.leakage": numbers.leakage(f"{name}.leakage", largest),
            f"{name}.worst_class_leakage": self.worst_class(f"{name}.worst_class_leakage", largest),
            f"{name}.transfer_accuracy": numbers.accuracy(self.frozen),
        }

    def choices(self, levels: Sequence[str]) -> list[Attempt]:
        """The attempts that the numbers come from, those about single classes left out."""
        found = (self.board.choose(self.largest(levels)), self.board.choose(self.frozen))
        return list(dict.fromkeys(attempt for attempt in found if attempt is not None))

    def class_choices(self, levels: Sequence[str]) -> list[Attempt]:
        """Whoever is chosen or missed for a single class, on the release or on the images: they need controls too."""
        attempts, found = self.largest(levels), []
        for column in range(len(self.questions)):
            board = self._about(column)
            chosen = board.choose(attempts)
            found += [chosen, board.choose(attempts, "ceiling")]
            found += [] if chosen is None else board.missed(chosen, attempts)
        return list(dict.fromkeys(attempt for attempt in found if attempt is not None))

    def worst_class(self, name: str, attempts: Sequence[Attempt]) -> Value:
        """Leakage about the class that leaks most, each class with the adversary that is best at it on validation.

        Args:
            name: of the metric; the sidecar's keys begin with it.
            attempts: who competes.
        """
        scratch: list[dict[str, Rows]] = [{} for _ in self.questions]
        values = [
            self._numbers(self._about(column), scratch[column]).leakage("class", attempts)
            for column in range(len(self.questions))
        ]
        known = {column: value for column, value in enumerate(values) if value.value is not None}
        flags = {flag for value in known.values() for flag in value.flags}
        # Of a class without a number only what makes the others doubtful too.
        flags |= {flag for value in values for flag in value.flags if flag in ("CRASHED", *health.HONESTY)}
        if not known:
            return Value.unknown(values[0].reason or "unknown", unit="leakage", flags=tuple(sorted(flags)))
        worst = self._over_seeds(name, {c: _tables(value, scratch[c]) for c, value in known.items()})
        also = [
            self._over_seeds(name, {column: _tables(rival, scratch[column])})
            for column, value in known.items()
            for rival in value.also
            if rival.value is not None
        ]
        return worst.model_copy(update={"flags": tuple(sorted(flags)), "also": tuple(also)})

    def _over_seeds(self, name: str, tables: Mapping[int, Sequence[Rows]]) -> Value:
        values = []
        for turn, seed in enumerate(self.board.seeds):
            stacked = self._stacked({column: of_seeds[turn] for column, of_seeds in tables.items()})
            key = f"{name}/{len([known for known in self.rows if known.startswith(name)])}"
            self.rows[key] = stacked
            values.append(worst_class_leakage(stacked, seed=seed, rows=key, names=self.questions))
        return levels.over_seeds(values)

    def _stacked(self, tables: Mapping[int, Rows]) -> Rows:
        """Tables of different numbers of targets as one of shape (q, 3, most); what is missing is not graded."""
        most = max(table.shape[1] for table in tables.values())
        stacked = np.full((len(self.questions), 3, most), NOT_GRADED, np.uint8)
        for column, table in tables.items():
            stacked[column, :, : table.shape[1]] = table
        return stacked

    def _about(self, column: int) -> Board:
        """The board as if the question about one class were the goal, at the largest number of labels."""
        board = self.board
        floor = self.floors[:, column]
        floor = floor[floor != NOT_GRADED]
        common = set(board.common) - {"TOO_FEW_TARGETS"}
        return replace(
            board,
            outcomes={
                entry: _about(outcome, column)
                for entry, outcome in board.outcomes.items()
                if entry.attempt == board.largest(entry.attempt)
            },
            floor=floor,
            common=tuple(sorted(common | ({"TOO_FEW_TARGETS"} if len(floor) < self.few else set()))),
        )

    def _numbers(self, board: Board, rows: dict[str, Rows]) -> LabelMetrics:
        return LabelMetrics(board=board, target=TargetRows(), per_class=0.0, rows=rows)


def _about(outcome: Outcome, column: int) -> Outcome:
    """An outcome on the question about one class."""
    if outcome.status != "measured":
        return outcome
    rows: dict[str, Any] = {}
    for part in ("validation", "targets"):
        codes = outcome.arrays[f"classes.{part}"][:, column]
        rows[part] = codes[codes != NOT_GRADED]
    # As many rows of the class as of the others: whoever knows nothing is right half of the time.
    return replace(outcome, **rows, chance=0.5)


def _tables(value: Value, scratch: Mapping[str, Rows]) -> list[Rows]:
    """The three rows of hits that a leakage was computed from, seed by seed."""
    return [scratch[key] for key in (value.rows or "").split(",")]
