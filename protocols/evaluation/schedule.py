"""Which trials are still needed, stage after stage, until every choice has its controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from protocols.engine.budget import Budget
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.evaluation.leaderboard import Leaderboard
from protocols.evaluation.results import Arm, Attempt, Results, Trial


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A choice that numbers come from, and what it is controlled by.

    Args:
        board: by which statistic.
        attempts: among whom.
        ceiling: whether the strongest on the images is chosen too, as leakage needs it.
        double_all: whether the doubling check is made of all that are controlled, not of the chosen one alone.
        extra: further arms of the chosen attempt.
    """

    board: Leaderboard
    attempts: Sequence[Attempt]
    ceiling: bool = False
    double_all: bool = False
    extra: Callable[[Attempt], Sequence[Arm]] | None = None


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Runs the trials of one goal.

    Args:
        results: outcomes are entered here.
        budget: how much to spend.
        runner: where tasks are run.
        task: from a trial to what is run for it.
        name: how progress calls the attack.
    """

    results: Results
    budget: Budget
    runner: TaskRunner
    task: Callable[[Trial], QueuedTask]
    name: str

    def attack(self) -> None:
        """Every attempt, its ceilings, and its shuffled control where the budget controls everybody."""
        results, budget = self.results, self.budget
        attempts = results.everything()
        largest = [attempt for attempt in attempts if attempt == results.largest(attempt)]
        ceilings = [attempt for attempt in largest if not results.of(attempt).blind]
        trials = results.trials(attempts, "attack")
        trials += results.trials(attempts if budget.ceiling_everywhere else ceilings, "ceiling")
        if budget.shuffle_all:
            trials += self._shuffled(largest)
        self.run(trials)

    def double(self) -> None:
        """Twice the training of everybody who trains, where the budget checks everybody."""
        if self.budget.doubling == "all":
            self.run(self._doubled(self.results.everything()), "doubling checks")

    def control(self, choices: Callable[[], Sequence[Choice]]) -> None:
        """Controls of all that a number comes from, until none is missing.

        A choice that its control drops makes room for the next, which needs its controls too.

        Args:
            choices: from the results as they are then.
        """
        for _ in range(len(self.results.competitors)):
            trials = [trial for choice in choices() for trial in self._needed(choice)]
            trials = [trial for trial in trials if trial not in self.results.outcomes]
            if not trials:
                return
            self.run(trials, "controls")

    def draw(self, attempts: Iterable[Attempt]) -> None:
        """The attacks with further sets of labelled releases."""
        results = self.results
        further = range(1, results.draws)
        trials = [Trial(a, "attack", seed, False, draw) for a in attempts for seed in results.seeds for draw in further]
        self.run(trials, "further draws of labels")

    def run(self, trials: Iterable[Trial], stage: str = "") -> None:
        """Run what no outcome is known of; slow ones first, so that no core waits at the end."""
        outcomes = self.results.outcomes
        missing = [trial for trial in dict.fromkeys(trials) if trial not in outcomes]
        missing.sort(key=self._guessed_cost, reverse=True)
        name = f"{self.name}, {stage}" if stage else self.name
        for trial, outcome in zip(missing, self.runner.run(name, [self.task(t) for t in missing]), strict=True):
            outcomes[trial] = outcome

    def _needed(self, choice: Choice) -> list[Trial]:
        """The controls of one choice, of those that selection missed, and of the strongest who look at releases."""
        board, attempts = choice.board, list(choice.attempts)
        chosen = board.choose(attempts)
        missed = [] if chosen is None else board.missed(chosen, attempts)
        seeing = board.seeing(attempts)
        # Others compare themselves with the strongest of those who were graded on all targets.
        others = [board.choose(seeing), board.choose(board.on_all_targets(seeing))]
        others += [board.choose(attempts, "ceiling")] if choice.ceiling else []
        controlled = [each.attempt for each in (chosen, *missed, *others) if each is not None]
        trials = self._shuffled(controlled)
        if self.budget.doubling != "none" and choice.double_all:
            trials += self._doubled(dict.fromkeys(self.results.largest(attempt) for attempt in controlled))
        if chosen is not None:
            trials += self._doubled([chosen.attempt]) if self.budget.doubling == "chosen" else []
            for arm in choice.extra(chosen.attempt) if choice.extra is not None else ():
                trials += self.results.trials([chosen.attempt], arm)
        return trials

    def _shuffled(self, attempts: Iterable[Attempt]) -> list[Trial]:
        results = self.results
        largest = dict.fromkeys(results.largest(attempt) for attempt in attempts)
        return results.trials((attempt for attempt in largest if results.of(attempt).shuffles), "shuffled")

    def _doubled(self, attempts: Iterable[Attempt]) -> list[Trial]:
        trained = (attempt for attempt in attempts if self.results.of(attempt).trains)
        return self.results.trials(trained, "attack", doubled=True)

    def _guessed_cost(self, trial: Trial) -> float:
        """Only an order: what trains takes longest, per target above all, and longer with the largest budget."""
        competitor = self.results.of(trial.attempt)
        per_target = competitor.trains and not competitor.grows
        largest = trial.attempt.budget == self.results.grid[-1]
        return 4.0 * per_target + 2.0 * competitor.trains + largest + (trial.arm != "ceiling")
