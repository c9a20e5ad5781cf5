"""Which trials are still needed, stage after stage, until every choice has its controls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adversaries.statistics.race import Runner, going_on
from protocols.engine.budget import Budget
from protocols.engine.task_runner import QueuedTask, TaskRunner
from protocols.evaluation.leaderboard import Contestant, Leaderboard
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
        board: by what families race; None where nobody does.
        chance: the rate at which the best guess without the release is right on the attacker's validation part; None
            where rows are not right or wrong.
    """

    results: Results
    budget: Budget
    runner: TaskRunner
    task: Callable[[Trial], QueuedTask]
    name: str
    board: Leaderboard | None = None
    chance: float | None = None

    def attack(self) -> None:
        """Every attempt, its ceilings, and its shuffled control where the budget controls everybody.

        Families race first, on the release and, for the ceilings' own choice, on the images. A ceiling is never trained
        less than the attack beside it.
        """
        results, budget = self.results, self.budget
        attempts = results.everything()
        largest = [attempt for attempt in attempts if attempt == results.largest(attempt)]
        ceilings = [attempt for attempt in largest if not results.of(attempt).blind]
        arms: dict[Arm, list[Attempt]] = {"attack": attempts}
        arms["ceiling"] = attempts if budget.ceiling_everywhere else ceilings
        self._race(arms)
        for attempt in ceilings:
            if results.share(attempt, "ceiling") < results.share(attempt):
                results.reach(attempt, "ceiling", results.share(attempt))
        trials = results.trials(arms["ceiling"], "ceiling")
        if budget.shuffle_all:
            trials += self._shuffled(largest)
        self.run(trials, "controls")

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
        while True:  # every turn enters outcomes, of which there are finitely many
            trials = [trial for choice in choices() for trial in self._needed(choice)]
            trials = [trial for trial in trials if self.results.wanted(trial) is not None]
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
        wanted = map(self.results.wanted, dict.fromkeys(trials))
        missing = [trial for trial in wanted if trial is not None]
        missing.sort(key=self._guessed_cost, reverse=True)
        name = f"{self.name}, {stage}" if stage else self.name
        for trial, outcome in zip(missing, self.runner.run(name, [self.task(t) for t in missing]), strict=True):
            self.results.enter(trial, outcome)

    def _race(self, arms: Mapping[Arm, Sequence[Attempt]]) -> None:
        """Run the attempts of some arms, those of a family only as far as they go on."""
        results, rounds = self.results, self.budget.rounds
        families = [(arm, family) for arm, attempts in arms.items() for family in self._families(attempts)]
        for arm, family in families:
            for attempt in family:
                results.reach(attempt, arm, rounds[0])
        self.run(trial for arm, attempts in arms.items() for trial in results.trials(attempts, arm))
        for share in rounds[1:]:
            families = [(arm, self._going_on(family, arm)) for arm, family in families]
            for arm, family in families:
                for attempt in family:
                    # Whoever has no rival left needs no further round.
                    results.reach(attempt, arm, share if len(family) > 1 else 1.0)
            trials = [trial for arm, family in families for trial in results.trials(family, arm)]
            self.run(trials, f"those who go on, {share:.0%} of the training")

    def _families(self, attempts: Iterable[Attempt]) -> list[list[Attempt]]:
        """Attempts that race against each other: those of one family with one budget."""
        found: dict[object, list[Attempt]] = defaultdict(list)
        if self.board is not None and len(self.budget.rounds) > 1:
            for attempt in attempts:
                if family := self.results.of(attempt).family:
                    found[family, attempt.budget].append(attempt)
        return [family for family in found.values() if len(family) > 1]

    def _going_on(self, family: Sequence[Attempt], arm: Arm) -> list[Attempt]:
        """Those of a family who go on, by the attacker's validation part; whoever could not be measured does not."""
        board = self.board
        if board is None:
            return list(family)
        variant = board.statistic.variants[0]
        found = {each: board.rows(Contestant(each, variant), arm, part="validation") for each in family}
        measured = [attempt for attempt, rows in found.items() if rows]
        runners = [Runner.of(found[attempt], self.chance) for attempt in measured]
        return [measured[position] for position in going_on(runners)]

    def _to_the_end(self, attempt: Attempt, arm: Arm) -> list[Trial]:
        """Whoever is chosen although it stopped is trained whole, with its ceiling."""
        results = self.results
        if results.share(attempt, arm) == 1.0:
            return []
        results.reach(attempt, arm, 1.0)
        return results.trials([attempt], arm) + (self._ceilings([attempt]) if arm == "attack" else [])

    def _needed(self, choice: Choice) -> list[Trial]:
        """The controls of one choice, of those that selection missed, and of the strongest who look at releases."""
        board, attempts = choice.board, list(choice.attempts)
        chosen = board.choose(attempts)
        missed = [] if chosen is None else board.missed(chosen, attempts)
        seeing = board.seeing(attempts)
        # Others compare themselves with the strongest of those who were graded on all targets.
        others = [board.choose(seeing), board.choose(board.on_all_targets(seeing))]
        on_images = board.choose(attempts, "ceiling") if choice.ceiling else None
        stopped = [] if chosen is None else self._to_the_end(chosen.attempt, "attack")
        stopped += [] if on_images is None else self._to_the_end(on_images.attempt, "ceiling")
        if stopped:
            return stopped  # they may not be chosen then
        others += [on_images]
        controlled = [each.attempt for each in (chosen, *missed, *others) if each is not None]
        trials = self._shuffled(controlled) + self._ceilings(controlled)
        if self.budget.doubling != "none" and choice.double_all:
            trials += self._doubled(dict.fromkeys(self.results.largest(attempt) for attempt in controlled))
        if chosen is not None:
            trials += self._doubled([chosen.attempt]) if self.budget.doubling == "chosen" else []
            for arm in choice.extra(chosen.attempt) if choice.extra is not None else ():
                trials += self.results.trials([chosen.attempt], arm)
        return trials

    def _shuffled(self, attempts: Iterable[Attempt]) -> list[Trial]:
        """The shuffled controls with the largest budget, none trained less than its candidate was with any budget."""
        results = self.results
        largest = dict.fromkeys(results.largest(attempt) for attempt in attempts if results.of(attempt).shuffles)
        for attempt in largest:
            longest = results.longest(attempt)
            if results.share(attempt, "shuffled") < longest:
                results.reach(attempt, "shuffled", longest)
        return results.trials(largest, "shuffled")

    def _ceilings(self, attempts: Iterable[Attempt]) -> list[Trial]:
        """The ceilings with the largest budget of those whose ceiling was trained less than they with any budget."""
        results, trials = self.results, list[Trial]()
        for attempt in dict.fromkeys(results.largest(attempt) for attempt in attempts):
            longest = results.longest(attempt)
            if results.share(attempt, "ceiling") < longest:
                results.reach(attempt, "ceiling", longest)
                trials += results.trials([attempt], "ceiling")
        return trials

    def _doubled(self, attempts: Iterable[Attempt]) -> list[Trial]:
        trained = (attempt for attempt in attempts if self.results.of(attempt).trains)
        return self.results.trials(trained, "attack", doubled=True)

    def _guessed_cost(self, trial: Trial) -> float:
        """Only an order: what trains takes longest, per target above all, and longer with the largest budget."""
        competitor = self.results.of(trial.attempt)
        per_target = competitor.trains and not competitor.grows
        largest = trial.attempt.budget == self.results.grid[-1]
        return 4.0 * per_target + 2.0 * competitor.trains + largest + (trial.arm != "ceiling")
