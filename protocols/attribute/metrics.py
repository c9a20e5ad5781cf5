"""From a leaderboard to the numbers of one attribute.

Axes: n target images, q questions (is it this class or another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adversaries import health
from adversaries.evidence import Value
from adversaries.goals.label import NOT_GRADED
from adversaries.statistics import levels
from adversaries.statistics.worst_class import worst_class_leakage
from protocols.engine.prepared import TargetRows
from protocols.engine.task import Rows
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.metrics import LabelMetrics
from protocols.evaluation.results import Attempt
from protocols.evaluation.schedule import Choice


@dataclass(frozen=True, kw_only=True)
class AttributeMetrics:
    """Computes the metrics of one attribute.

    Args:
        board: the outcomes.
        questions: the class that each column of `floors` and of the outcomes' `classes` arrays asks about.
        floors: right (1), wrong (0) or not graded (2) without the release, shape (n, q).
        rows: arrays of the sidecar.
        originals: whether the images are known, which the ceiling of leakage needs.
    """

    board: Leaderboard
    questions: tuple[int, ...]
    floors: Rows
    rows: dict[str, Rows]
    originals: bool

    @property
    def frozen(self) -> list[Attempt]:
        """The clean attribute models on the release as it is."""
        results = self.board.results
        return [a for a in results.attempts(levels=("L0",)) if results.of(a).candidate.adversary == "frozen"]

    def largest(self, levels: Sequence[str]) -> list[Attempt]:
        """Everybody of some levels, at the largest number of labels."""
        return self.board.results.attempts(self.board.results.grid[-1], levels=levels)

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
            f"{name}.exposed": numbers.exposed(largest),
            f"{name}.transfer_accuracy": numbers.accuracy(self.frozen),
        }

    def chosen(self, levels: Sequence[str]) -> list[Contestant]:
        """The contestants that the numbers come from, those about single classes left out."""
        found = (self.board.choose(self.largest(levels)), self.board.choose(self.frozen))
        return list(dict.fromkeys(contestant for contestant in found if contestant is not None))

    def choices(self, levels: Sequence[str]) -> list[Choice]:
        """The choices about single classes and of whom exposes most, which need controls too."""
        attempts = self.largest(levels)
        columns = range(len(self.questions))
        found = [
            Choice(board=self._about(column), attempts=attempts, ceiling=True, double_all=True) for column in columns
        ]
        return [*found, Choice(board=self._numbers(self.board, self.rows).exposing, attempts=attempts)]

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
        worst = self._together(name, known, scratch)
        # Of every class the first of those who were not chosen, then the second, and so on: each class has its own.
        rivals = {
            column: (*value.also, *(r for r in value.others if r not in value.also)) for column, value in known.items()
        }
        turns = range(max(map(len, rivals.values())))
        others = [
            self._together(name, {column: all_[turn] for column, all_ in rivals.items() if turn < len(all_)}, scratch)
            for turn in turns
        ]
        also = others[: max(len(value.also) for value in known.values())]
        return worst.model_copy(update={"flags": tuple(sorted(flags)), "also": tuple(also), "others": tuple(others)})

    def _together(self, name: str, values: Mapping[int, Value], scratch: Sequence[Mapping[str, Rows]]) -> Value:
        """The worst of some classes, named by who finds most; a control of each that ran clean is one of all."""
        value = self._over_seeds(name, {column: _tables(each, scratch[column]) for column, each in values.items()})
        most = max(values.values(), key=lambda each: each.value or 0.0)
        controlled = all(each.controlled for each in values.values())
        return value.model_copy(update={"candidate": most.candidate, "controlled": controlled})

    def _over_seeds(self, name: str, tables: Mapping[int, Sequence[Rows]]) -> Value:
        values = []
        for turn, seed in enumerate(self.board.results.seeds):
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

    def _about(self, column: int) -> Leaderboard:
        """The leaderboard as if the question about one class were the goal, at the largest number of labels."""
        results, floor = self.board.results, self.floors[:, column]
        largest = {t: o for t, o in results.outcomes.items() if t.attempt == results.largest(t.attempt)}
        # Classes differ in how many targets are graded.
        common = tuple(flag for flag in results.common if flag != "TOO_FEW_TARGETS")
        statistic = replace(self.board.statistic, array="classes", column=column, floor=floor[floor != NOT_GRADED])
        return Leaderboard(results=replace(results, outcomes=largest, common=common), statistic=statistic)

    def _numbers(self, board: Leaderboard, rows: dict[str, Rows]) -> LabelMetrics:
        return LabelMetrics(board=board, target=TargetRows(), per_class=0.0, rows=rows, originals=self.originals)


def _tables(value: Value, scratch: Mapping[str, Rows]) -> list[Rows]:
    """The three rows of hits that a leakage was computed from, seed by seed."""
    return [scratch[key] for key in (value.rows or "").split(",")]
