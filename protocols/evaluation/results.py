"""What is known so far of everybody who competes for one goal.

A trial is (candidate, budget, arm, seed, doubled); an attempt is the candidate with its budget, which is None for those
who are tried in one way only. Where candidates race, an attempt has reached some share of its whole training, and its
trials are known by the outcome with the largest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from adversaries.health import HARD
from adversaries.threat import Level
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate

Arm = Literal[
    "attack", "ceiling", "shuffled", "undefended", "planted",
    "planted:signs", "planted:residue", "planted:scale", "planted:offset", "planted:patch",
]  # fmt: skip
Budgeted = int | str | None
"""Labels per class, or pairs; `all` for everything; None where there is no such choice."""


class Attempt(NamedTuple):
    """A candidate, by its position, with the budget that it was granted."""

    candidate: int
    budget: Budgeted


class Trial(NamedTuple):
    """One fit of one candidate, graded in one arm.

    `draw` says which of several sets of labelled releases it had, `share` how much of its whole training.
    """

    attempt: Attempt
    arm: Arm
    seed: int
    doubled: bool = False
    draw: int = 0
    share: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """A candidate and what the evaluation must know of it.

    Args:
        candidate: with all its options.
        level: threat level.
        grows: whether it is tried with every budget of the grid.
        shuffles: whether the shuffled control applies.
        trains: whether twice its training means anything.
        blind: whether it never looks at the release, so that it is a floor.
        calibrated: whether its power with the largest budget is known from calibration.
        family: against whose members it races; empty: it runs whole.
    """

    candidate: Candidate
    level: Level
    grows: bool = True
    shuffles: bool = True
    trains: bool = False
    blind: bool = False
    calibrated: bool = False
    family: str = ""


@dataclass(kw_only=True)
class Results:
    """Outcomes of all trials for one goal.

    Args:
        competitors: who competes, in the order that breaks ties; attempts refer to their positions.
        seeds: attack seeds.
        grid: budgets, ascending; the last is the largest.
        common: flags that hold for every adversary of the run.
        unchecked: whether the budget skips the doubling check.
        draws: how many sets of labelled releases are drawn per seed where not all are granted; 0 where no number is
            about the luck of that draw.
        comparisons: of how many trials of an arm these are a part, where levels are divided by those of a whole study.
        outcomes: what is known so far, by trial without its share.
        shares: of those who race, how much of its training an attempt has reached in the arms `attack` (which stands
            for all arms that are not named), `ceiling` and, where it is longer than the attack, `shuffled`.
        rounds: their outcomes at every share that was run.
    """

    competitors: list[Competitor]
    seeds: tuple[int, ...]
    grid: tuple[Budgeted, ...] = (None,)
    common: tuple[str, ...] = ()
    unchecked: bool = False
    draws: int = 0
    comparisons: int | None = None
    outcomes: dict[Trial, Outcome] = field(default_factory=dict)
    shares: dict[tuple[Attempt, Arm], float] = field(default_factory=dict)
    rounds: dict[Trial, dict[float, Outcome]] = field(default_factory=dict)

    def add(self, competitor: Competitor) -> int:
        """Let another candidate compete; returns its position."""
        self.competitors.append(competitor)
        return len(self.competitors) - 1

    def of(self, attempt: Attempt) -> Competitor:
        """The competitor that made an attempt."""
        return self.competitors[attempt.candidate]

    def everything(self) -> list[Attempt]:
        """Every candidate with every budget of the grid, budget by budget."""
        found = [attempt for budget in self.grid for attempt in self.attempts(budget, twin=True)]
        return list(dict.fromkeys(found))

    def attempts(self, budget: Budgeted = None, *, levels: Sequence[str] = (), twin: bool = False) -> list[Attempt]:
        """The attempts that compete at one budget: those who grow with it, the others without.

        Args:
            budget: of the grid; None leaves out those who need one.
            levels: threat levels that count; empty for all.
            twin: whether candidates that enter no headline number count.
        """
        return [
            Attempt(position, budget if each.grows else None)
            for position, each in enumerate(self.competitors)
            if (each.candidate.headline or twin)
            and (not levels or each.level in levels)
            and (budget is not None or not each.grows)
        ]

    def tried(self) -> list[Attempt]:
        """Every attempt with an outcome of its attack, in order of candidates and budgets."""
        order = {budget: position for position, budget in enumerate((None, *self.grid))}
        attempts = {trial.attempt for trial in self.outcomes if trial.arm == "attack" and not trial.doubled}
        return sorted(attempts, key=lambda attempt: (attempt.candidate, order[attempt.budget]))

    def largest(self, attempt: Attempt) -> Attempt:
        """The same candidate with the largest budget, where ceilings and controls are judged."""
        return attempt if attempt.budget is None else Attempt(attempt.candidate, self.grid[-1])

    def trials(self, attempts: Iterable[Attempt], arm: Arm, *, doubled: bool = False) -> list[Trial]:
        """One trial per attempt and seed."""
        return [Trial(attempt, arm, seed, doubled) for attempt in attempts for seed in self.seeds]

    def share(self, attempt: Attempt, arm: Arm = "attack") -> float:
        """How much of its whole training an attempt has reached in an arm."""
        attack = self.shares.get((attempt, "attack"), 1.0)
        if arm == "ceiling":
            return self.shares.get((attempt, arm), 1.0)
        return max(attack, self.shares.get((attempt, arm), 0.0))

    def longest(self, attempt: Attempt) -> float:
        """The largest share of its whole training that a candidate has reached with any budget: its controls' share."""
        return max((self.share(each) for each in self.tried() if each.candidate == attempt.candidate), default=1.0)

    def reach(self, attempt: Attempt, arm: Arm, share: float) -> None:
        """Let an attempt that races come so far in an arm."""
        self.shares[attempt, arm] = share

    def wanted(self, trial: Trial) -> Trial | None:
        """A trial with the share that its attempt has reached; None if its outcome is known."""
        trial = trial._replace(share=self.share(trial.attempt, trial.arm))
        plain = trial._replace(share=1.0)
        known = plain in self.outcomes and trial.share in self.rounds.get(plain, {trial.share: None})
        return None if known else trial

    def enter(self, trial: Trial, outcome: Outcome) -> None:
        """Write an outcome down."""
        plain = trial._replace(share=1.0)
        if (trial.attempt, "ceiling" if trial.arm == "ceiling" else "attack") in self.shares:
            self.rounds.setdefault(plain, {})[trial.share] = outcome
        self.outcomes[plain] = outcome

    def measured(self, attempt: Attempt, arm: Arm, *, doubled: bool = False) -> list[Outcome]:
        """The outcomes of all seeds, or nothing unless all were measured."""
        found = [self.outcomes.get(trial) for trial in self.trials([attempt], arm, doubled=doubled)]
        measured = [outcome for outcome in found if outcome is not None and outcome.status == "measured"]
        return measured if len(measured) == len(self.seeds) else []

    def drawn(self, attempt: Attempt) -> bool:
        """Whether which labelled releases an attempt was granted is a matter of luck that numbers must tell."""
        return self.draws > 0 and attempt.budget is not None and attempt.budget != self.grid[-1]

    def over_draws(self, attempt: Attempt) -> list[tuple[int, Outcome]]:
        """Seed and outcome of every measured draw; nothing unless the first of all seeds was measured."""
        if not self.measured(attempt, "attack"):
            return []
        trials = [Trial(attempt, "attack", seed, False, draw) for seed in self.seeds for draw in range(self.draws)]
        found = [(trial.seed, self.outcomes.get(trial)) for trial in trials]
        return [(seed, each) for seed, each in found if each is not None and each.status == "measured"]

    def count(self, arm: Arm) -> int:
        """How many trials of an arm there are; at least 1, for levels that are divided by it."""
        return self.comparisons or max(1, sum(trial.arm == arm and not trial.draw for trial in self.outcomes))

    def crashed(self, attempts: Iterable[Attempt]) -> bool:
        """Whether any of some attempts failed, or a control of theirs with the largest budget.

        What somebody does to a leak that was planted to be hard says nothing of the release.
        """
        wanted = set(attempts)
        controlled = {self.largest(attempt) for attempt in wanted}
        return any(
            outcome.status == "failed"
            and not trial.arm.startswith(HARD)
            and (trial.attempt in wanted or (trial.arm != "attack" and trial.attempt in controlled))
            for trial, outcome in self.outcomes.items()
        )

    def control_failed(self, attempt: Attempt) -> bool:
        """Whether the shuffled control crashed, so that nothing says whether the attempt is honest."""
        found = [self.outcomes.get(trial) for trial in self.trials([self.largest(attempt)], "shuffled")]
        return any(outcome is not None and outcome.status == "failed" for outcome in found)

    def uncontrolled(self, attempt: Attempt) -> bool:
        """Whether the shuffled control that applies to an attempt is missing, or was trained less than the attempt."""
        largest = self.largest(attempt)
        shorter = self.share(largest, "shuffled") < self.share(attempt)
        return self.of(attempt).shuffles and (shorter or not self.measured(largest, "shuffled"))

    def reason(self, attempts: Iterable[Attempt]) -> str | None:
        """The most frequent reason for which some attempts were not measured."""
        wanted = set(attempts)
        outcomes = [outcome for trial, outcome in self.outcomes.items() if trial.attempt in wanted]
        reasons = Counter(outcome.reason for outcome in outcomes if outcome.reason)
        return reasons.most_common(1)[0][0] if reasons else None

    def cannot_learn(self, attempts: Iterable[Attempt]) -> str | None:
        """Why no attempt with a budget could be made, when there should have been some and none failed."""
        learned = [attempt for attempt in attempts if attempt.budget is not None]
        outcomes = [o for trial, o in self.outcomes.items() if trial.attempt in learned and trial.arm == "attack"]
        if not outcomes or any(outcome.status != "not_applicable" for outcome in outcomes):
            return None
        return self.reason(learned) or "no adversary with labels applies"
