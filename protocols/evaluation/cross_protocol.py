"""Adversaries of other protocols that attack the task label too, and how they enter the ladder's choice.

From `--threat L3` on `adaptive.*` is about everybody: also those who rebuild images and have them read, and those who
know the mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from adversaries.evidence import Value
from protocols.engine.task import Outcome, label_arrays
from protocols.evaluation.leaderboard import Leaderboard
from protocols.evaluation.metrics import LabelMetrics
from protocols.evaluation.results import Attempt, Competitor, Results, Trial


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One adversary, with everything that is known of it at its largest budget.

    Args:
        competitor: the candidate, and what the evaluation knows of it.
        outcomes: of all arms, seeds and doubling checks, by the trials of its own results.
    """

    competitor: Competitor
    outcomes: Mapping[Trial, Outcome]

    def attacks(self) -> list[Outcome]:
        """Its measured attacks, one per seed."""
        found = {
            trial.seed: each for trial, each in self.outcomes.items() if trial.arm == "attack" and not trial.doubled
        }
        return [found[seed] for seed in sorted(found) if found[seed].status == "measured"]

    def graded_on(self, targets: int) -> bool:
        """Whether it was graded on all of so many targets, wherever it was graded."""
        measured = (outcome for outcome in self.outcomes.values() if outcome.status == "measured")
        return all(len(outcome.targets) == targets for outcome in measured)


def rivals_from_labels(results: Results) -> list[Rival]:
    """Everybody who attacked the task label, at the largest number of labels."""
    return [
        Rival(
            competitor=competitor,
            outcomes={
                trial: outcome
                for trial, outcome in results.outcomes.items()
                if trial.attempt.candidate == position and trial.attempt == results.largest(trial.attempt)
            },
        )
        for position, competitor in enumerate(results.competitors)
    ]


def rivals_from_readers(board: Leaderboard) -> list[Rival]:
    """Everybody whose reconstructions clean models read, with the most pairs, once for every model.

    Args:
        board: outcomes on reconstructions, ranked by the reading of the label.
    """
    results, found = board.results, []
    for attempt in board.seeing(results.tried()):
        if attempt != results.largest(attempt):
            continue
        competitor, honesty = results.of(attempt), board.dishonest(attempt)
        for model in filter(None, board.statistic.variants):
            candidate = replace(
                competitor.candidate, settings={**competitor.candidate.settings, "read_by": model}, headline=True
            )
            outcomes = {
                trial: _reading(outcome, board, model, honesty)
                for trial, outcome in results.outcomes.items()
                if trial.attempt == attempt
            }
            found.append(Rival(competitor=replace(competitor, candidate=candidate, shuffles=True), outcomes=outcomes))
    return found


def add_candidates(results: Results, rivals: Iterable[Rival]) -> None:
    """Let rivals compete; in place."""
    for rival in rivals:
        competitor = replace(rival.competitor, grows=rival.competitor.level >= "L2")
        attempt = Attempt(results.add(competitor), results.grid[-1] if competitor.grows else None)
        for trial, outcome in rival.outcomes.items():
            results.outcomes[trial._replace(attempt=attempt)] = outcome


def graded_on_some(board: Leaderboard, rivals: Sequence[Rival]) -> Leaderboard:
    """A leaderboard of rivals who were graded on the first targets only, under the same rules as everybody.

    Args:
        board: of those who were graded on all targets.
        rivals: the others.
    """
    results = Results(competitors=[], seeds=board.results.seeds, grid=board.results.grid, common=board.results.common)
    add_candidates(results, rivals)
    results.comparisons = board.results.count("shuffled") + results.count("shuffled")
    return replace(board, results=results)


def strongest_of_all(numbers: LabelMetrics, rivals: Sequence[Rival], levels: Sequence[str]) -> dict[str, Value]:
    """`adaptive.*` at the largest number of labels, with everybody who attacked the task label.

    Args:
        numbers: the ladder's; its results are added to.
        rivals: who attacked the task label in other protocols.
        levels: of the adversaries that count.
    """
    board, n = numbers.board, len(numbers.floor)
    results = board.results
    add_candidates(results, (rival for rival in rivals if rival.graded_on(n)))
    everybody = results.attempts(results.grid[-1], levels=levels)
    # Who can afford some targets only cannot be compared by the whole validation part, and is judged all the same.
    some = [rival for rival in rivals if not rival.graded_on(n) and rival.competitor.level in levels]
    return strongest(replace(numbers, some=graded_on_some(board, some) if some else None), everybody)


def strongest(numbers: LabelMetrics, attempts: Sequence[Attempt]) -> dict[str, Value]:
    """`adaptive.*` at the largest number of labels."""
    return {
        "adaptive.accuracy": numbers.accuracy(attempts),
        "adaptive.suppression_ratio": numbers.suppression(attempts),
        "adaptive.leakage": numbers.leakage("adaptive.leakage", attempts),
    }


def _reading(outcome: Outcome, board: Leaderboard, model: str, honesty: tuple[str, ...]) -> Outcome:
    """What a model read off reconstructions, as right and wrong about the label."""
    if outcome.status != "measured":
        return outcome
    rows = [board.statistic.rows(outcome.arrays, part, model) for part in ("validation", "targets")]
    validation, targets = (row for row in rows if row is not None)
    arrays = label_arrays(validation, targets, float(outcome.arrays["targets.majority"][0]))
    return replace(outcome, reason=None, arrays=arrays, flags=tuple(sorted({*outcome.flags, *honesty})))
