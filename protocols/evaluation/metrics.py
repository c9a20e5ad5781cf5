"""From a leaderboard to the numbers of the catalog, each with the flags of the adversary it was chosen from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adversaries import health
from adversaries.evidence import Step, Value
from adversaries.statistics import estimates, labels_needed, levels
from protocols.engine.prepared import TargetRows
from protocols.engine.task import EXPOSED, Rows
from protocols.evaluation.candidate import guessing_the_floor
from protocols.evaluation.flags import health_flags, silence
from protocols.evaluation.leaderboard import Contestant, Leaderboard, Measure
from protocols.evaluation.results import Attempt, Budgeted


def chosen_value(
    board: Leaderboard, attempts: Sequence[Attempt], measure: Measure, some: Leaderboard | None = None
) -> Value:
    """A number of the adversary chosen on validation, over seeds, with its flags and what the others gave.

    Args:
        board: who is strongest.
        attempts: who competes.
        measure: from rows to the number.
        some: others who were graded on the first targets only, so that they cannot be chosen; all of them are judged.
    """
    results, unit = board.results, board.statistic.unit
    dropped = {flag for attempt in attempts for flag in board.dishonest(attempt)}
    flags = dropped | ({"CRASHED"} if results.crashed(attempts) else set())
    if board.statistic.needs_learners and (absent := results.cannot_learn(attempts)):
        return Value.unknown(absent, unit=unit, flags=tuple(sorted(flags)))
    chosen = board.choose(attempts)
    if chosen is None:
        nobody = "no adversary for it was measured" if attempts else "there is no adversary for it here"
        return Value.unknown(results.reason(attempts) or nobody, unit=unit, flags=tuple(sorted(flags)))
    value = board.over_seeds(chosen, measure)
    numbers = {each: _number(board, each, measure) for each in board.contenders(chosen, attempts)}
    missed = [numbers[rival] for rival in board.missed(chosen, attempts) if rival in numbers]
    if some is not None:
        tried = some.results.tried()
        flags |= {flag for attempt in tried for flag in some.dishonest(attempt)}
        flags |= {"CRASHED"} if some.results.crashed(tried) else set()
        honest = [each for each in some.contestants(tried) if not some.dishonest(each.attempt)]
        partly = {each: _number(some, each, measure) for each in honest}
        missed += [number for each, number in partly.items() if _stronger(some, each, board, chosen)]
    else:
        partly = {}
    flags |= set(health_flags(board, chosen)) | ({"SELECTION_MISSED"} if missed else set())
    flags |= silence(board, chosen, attempts)
    flags |= {"BELOW_FLOOR"} if board.turned(chosen, attempts) else set()
    # Who was left out of a race had a part of its training only; a choice that is controlled trains it to the end.
    flags |= {"NOT_CONVERGED"} if results.share(chosen.attempt) < 1 else set()
    # Whoever was not chosen is judged too, so that one draw of theirs is a doubt as well.
    single = results.draws * len(results.seeds) == 1 and any(map(results.drawn, attempts))
    flags |= {"ONE_DRAW"} if single or board.draws(chosen) == 1 else set()
    named = {"candidate": board.name(chosen), "flags": tuple(sorted(flags))}
    return value.model_copy(update={**named, "also": tuple(missed), "others": (*numbers.values(), *partly.values())})


def _stronger(some: Leaderboard, rival: Contestant, board: Leaderboard, chosen: Contestant) -> bool:
    """Whether who was graded on some targets is clearly above the chosen one on the same ones, in any seed."""
    level = health.LEVEL / len(some.results.competitors)
    pairs = zip(some.rows(rival), board.rows(chosen), strict=True)
    return any(board.statistic.above(theirs, ours, level) for theirs, ours in pairs)


def _number(board: Leaderboard, contestant: Contestant, measure: Measure) -> Value:
    """A number of a candidate that was not chosen, with its name and whether its control ran clean."""
    controlled = not board.results.uncontrolled(contestant.attempt)
    update = {"candidate": board.name(contestant), "controlled": controlled}
    return board.over_seeds(contestant, measure).model_copy(update=update)


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """Computes the metrics of one attack on a label.

    Args:
        board: the outcomes.
        target: how the intended use did on the same target images.
        per_class: mean number of labelled releases per class in the whole pool, which is what `all` stands for.
        rows: arrays of the sidecar; those that leakage is bootstrapped from are added.
        originals: whether the images are known, which the ceiling of leakage needs.
        some: others who were graded on the first targets only.
    """

    board: Leaderboard
    target: TargetRows
    per_class: float
    rows: dict[str, Rows]
    originals: bool = True
    some: Leaderboard | None = None

    @property
    def floor(self) -> Rows:
        """Right or wrong per target image without the release."""
        floor = self.board.statistic.floor
        if floor is None:
            raise ValueError("expected the floor of a label")
        return floor

    def accuracy(self, attempts: Sequence[Attempt]) -> Value:
        """Accuracy of the chosen adversary."""
        board = self.board
        return chosen_value(board, attempts, lambda _who, rows, _seed: board.statistic.value(rows), self.some)

    @property
    def exposing(self) -> Leaderboard:
        """The leaderboard as if the goal were to pick out images and name them right; its floor is what guessers do."""
        board = replace(self.board, statistic=replace(self.board.statistic, array=EXPOSED, floor=None))
        results, blind = board.results, guessing_the_floor("task") | guessing_the_floor("attribute")
        guessers = board.contestants(a for a in results.attempts() if results.of(a).candidate.adversary in blind)
        best = max(guessers, key=board.strength, default=None)
        floor = None if best is None else board.rows(best)[0]
        return replace(board, statistic=replace(board.statistic, floor=floor))

    def exposed(self, attempts: Sequence[Attempt]) -> Value:
        """The share of all target images that the attack picks out itself and names right.

        The strongest at that is chosen, on the validation part; the floor is what its guesser exposes.
        """
        board = self.exposing
        return chosen_value(board, attempts, lambda _contestant, rows, _seed: board.statistic.value(rows))

    def median_accuracy(self, attempts: Sequence[Attempt]) -> Value:
        """Accuracy of the median candidate on the targets: a number that no label was spent on choosing."""
        board = self.board
        honest = [each for each in board.contestants(attempts) if not board.dishonest(each.attempt)]
        if not honest:
            return Value.unknown("no adversary for it was measured")
        ranked = sorted(honest, key=lambda each: float(np.mean([rows.mean() for rows in board.rows(each)])))
        median = ranked[(len(ranked) - 1) // 2]
        value = board.over_seeds(median, lambda _contestant, rows, _seed: board.statistic.value(rows))
        flags = tuple(sorted(health_flags(board, median)))
        return value.model_copy(update={"candidate": board.name(median), "flags": flags})

    def suppression(self, attempts: Sequence[Attempt], target: Rows | None = None) -> Value:
        """Suppression ratio against the chosen adversary; `target` defaults to the target on the release."""
        hits = self.target.release if target is None else target
        if hits is None:
            return Value.unknown("the release names no target model", unit="ratio")

        def measure(_contestant: Contestant, rows: Rows, _seed: int) -> Value:
            return estimates.suppression(hits[: len(rows)], rows, self.floor[: len(rows)])

        return chosen_value(self.board, attempts, measure, self.some)

    def leakage(self, name: str, attempts: Sequence[Attempt]) -> Value:
        """Leakage of the chosen adversary, against the ceiling chosen in the same way on the images.

        Args:
            name: of the metric; the sidecar's keys begin with it.
            attempts: who competes.
        """
        if not self.originals:
            return Value.unknown("the originals are unknown, so there is no ceiling on the images", unit="leakage")
        ceiling = self.board.choose(attempts, "ceiling")
        if ceiling is None:
            return Value.unknown("there is no ceiling: nothing was measured on the images", unit="leakage")
        above = dict(zip(self.board.results.seeds, self.board.rows(ceiling, "ceiling"), strict=True))

        def measure(_contestant: Contestant, rows: Rows, seed: int) -> Value:
            key = f"{name}/{len([k for k in self.rows if k.startswith(name)])}"
            floor, most = self.floor[: len(rows)], above[seed][: len(rows)]
            self.rows[key] = np.stack([rows, floor, most])
            return estimates.leakage(rows, floor, most, seed=seed, rows=key)

        return chosen_value(self.board, attempts, measure, self.some)


@dataclass(frozen=True, kw_only=True)
class LabelsNeeded:
    """How many labels an attacker needs to come some way from the floor to the target.

    Args:
        numbers: of the attack on the task label.
        curve: who competes at each number of labels.
    """

    numbers: LabelMetrics
    curve: Mapping[Budgeted, Sequence[Attempt]]

    def reaching(self, share: float) -> Value:
        """Smallest K of the grid whose accuracy reaches floor + share * (target - floor)."""
        numbers, target = self.numbers, self.numbers.target.release
        if target is None:
            return Value.unknown("the release names no target model", unit="count")
        if target.mean() <= numbers.floor.mean():
            return Value.unknown("the target model is not above the floor", unit="count")

        def measure(_contestant: Contestant, rows: Rows, _seed: int) -> Value:
            return labels_needed.margin(rows, numbers.floor, target, share)

        points = [
            (
                numbers.per_class if labels == "all" else float(labels or 0),
                chosen_value(numbers.board, attempts, measure),
            )
            for labels, attempts in self.curve.items()
        ]
        # A pool can be smaller than a K of the grid, so that `all` is not always the largest.
        points = sorted((point for point in points if point[1].value is not None), key=lambda point: point[0])
        if not points:
            return Value.unknown("no adversary was measured at any number of labels", unit="count")
        curve = [Step(labels=labels, margins=(_bare(chosen), *chosen.others)) for labels, chosen in points]
        flags = tuple(sorted({flag for _, value in points for flag in value.flags}))
        return labels_needed.labels_needed(curve, levels.recompute).model_copy(update={"flags": flags})


def _labels(labels: Budgeted, per_class: float) -> float:
    return per_class if labels == "all" else float(labels or 0)


def _bare(chosen: Value) -> Value:
    """The chosen adversary's number without those of the others."""
    return chosen.model_copy(update={"also": (), "others": (), "flags": ()})


def target_metrics(target: TargetRows, reason: str) -> dict[str, Value]:
    """`target.*`: the intended use on the release, on the images and on the picture."""

    def rate(rows: Rows | None) -> Value:
        return Value.unknown(reason) if rows is None else estimates.rate(int(np.sum(rows)), len(rows))

    metrics = {"target.accuracy": rate(target.release), "target.clean_accuracy": rate(target.clean)}
    if target.release is None or target.clean is None:
        reason = reason or "nobody knows the target's predictions on the images (`clean_target`, `clean_prediction`)"
        metrics["target.clean_accuracy"] = Value.unknown(reason) if target.clean is None else rate(target.clean)
        metrics["target.retention"] = Value.unknown(reason, unit="ratio")
    else:
        metrics["target.retention"] = estimates.retention(target.release, target.clean)
    if target.picture is not None:
        metrics["target.picture.accuracy"] = rate(target.picture)
    return metrics
