"""All outcomes of one attack on one label, and the questions asked of them: who is chosen, who is doubtful.

An attempt is a candidate with its number of labels: `Attempt(candidate, labels)`; labels is None below L2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from adversaries import health
from adversaries.goals.assess import PLANTED
from adversaries.statistics import estimates
from protocols.engine.trial import Outcome
from protocols.evaluation.candidate import Candidate

Rows = np.ndarray[Any, np.dtype[np.uint8]]
CONVERGENCE_MARGIN = 0.02
"""Twice the training may raise the chosen attack's accuracy by this much before it counts as not converged."""

ROOM = 20
"""So many targets must be wrong on the release and carry the planted label, or finding it cannot be told from luck."""


class Attempt(NamedTuple):
    """A candidate with the labels that it was granted."""

    candidate: int
    labels: int | str | None


class Entry(NamedTuple):
    """Where an outcome stands on the board."""

    attempt: Attempt
    arm: str
    seed: int
    doubled: bool = False


@dataclass
class Board:
    """Outcomes of one attack.

    Args:
        candidates: who competes; attempts refer to their positions.
        levels: threat level of each candidate.
        seeds: attack seeds.
        grid: labels per class, ascending; the last is the largest.
        floor: right or wrong per target, for the guesser that does not read the release.
        common: flags that hold for every adversary of the run (an overlap of the parts, too few targets).
        outcomes: what is known so far.
        readers: candidates that read labels of releases, so that the shuffled control applies.
        trained: candidates whose training could be doubled.
        unchecked: whether the budget skips the doubling check.
        planted: whether the ceiling is a planted label, because the originals are unknown.
        calibrated: candidates whose power at the largest number of labels is known from calibration.
    """

    candidates: list[Candidate]
    levels: list[str]
    seeds: tuple[int, ...]
    grid: tuple[int | str, ...]
    floor: Rows
    common: tuple[str, ...] = ()
    outcomes: dict[Entry, Outcome] = field(default_factory=dict)
    readers: frozenset[int] = frozenset()
    trained: frozenset[int] = frozenset()
    unchecked: bool = False
    planted: bool = False
    calibrated: frozenset[int] = frozenset()

    def add(self, candidate: Candidate, level: str, *, reads: bool) -> int:
        """Let another candidate compete; returns its position. `reads`: whether the shuffled control applies."""
        self.candidates.append(candidate)
        self.levels.append(level)
        position = len(self.candidates) - 1
        if reads:
            self.readers |= {position}
        return position

    def tried(self) -> list[Attempt]:
        """Every attempt with an outcome of its attack, in order of candidates and labels."""
        order = {labels: position for position, labels in enumerate((None, *self.grid))}
        attempts = {entry.attempt for entry in self.outcomes if entry.arm == "attack" and not entry.doubled}
        return sorted(attempts, key=lambda attempt: (attempt.candidate, order[attempt.labels]))

    def attempts(
        self, labels: int | str | None = None, *, levels: Sequence[str] = (), twin: bool = False
    ) -> list[Attempt]:
        """The attempts that compete at one number of labels: learned candidates with it, the others without."""
        return [
            Attempt(position, labels if self.learns(position) else None)
            for position, candidate in enumerate(self.candidates)
            if (candidate.headline or twin)
            and (not levels or self.levels[position] in levels)
            and (labels is not None or not self.learns(position))
        ]

    def learns(self, candidate: int) -> bool:
        """Whether a candidate takes labels of releases."""
        return self.levels[candidate] >= "L2"

    def measured(self, attempt: Attempt, arm: str, *, doubled: bool = False) -> list[Outcome]:
        """The outcomes of all seeds, or nothing unless all were measured."""
        found = [self.outcomes.get(Entry(attempt, arm, seed, doubled)) for seed in self.seeds]
        measured = [outcome for outcome in found if outcome is not None and outcome.status == "measured"]
        return measured if len(measured) == len(self.seeds) else []

    def rows(self, attempt: Attempt, arm: str, seed: int) -> Rows | None:
        """Right or wrong per target, or None."""
        outcome = self.outcomes.get(Entry(attempt, arm, seed))
        return outcome.targets if outcome is not None and outcome.status == "measured" else None

    def choose(self, attempts: Iterable[Attempt], arm: str = "attack") -> Attempt | None:
        """The attempt that is best on the attacker's validation part; the targets play no part.

        Of equals the one whose ceiling is higher on validation wins, then the one named first.
        """
        best: tuple[float, float] = (-1.0, -1.0)
        chosen = None
        for attempt in attempts:
            outcomes = self.measured(attempt, arm)
            if not outcomes or self.dishonest(attempt) or self._control_failed(attempt):
                continue
            score = (_validation(outcomes), _validation(self.measured(self.largest(attempt), "ceiling")))
            if score > best:
                best, chosen = score, attempt
        return chosen

    def groups(self, levels: Sequence[str]) -> list[list[Attempt]]:
        """The attempts among which each headline number chooses: at every K, at no K, and frozen."""
        groups = [self.attempts(labels, levels=levels) for labels in self.grid]
        groups += [self.attempts(levels=[level]) for level in ("L0", "L1") if level in levels]
        return [*groups, self.attempts(levels=[level for level in ("L0", "L1") if level in levels])]

    def choices(self, levels: Sequence[str]) -> list[Attempt]:
        """The attempts that headline numbers come from."""
        return list(dict.fromkeys(a for a in map(self.choose, self.groups(levels)) if a is not None))

    def largest(self, attempt: Attempt) -> Attempt:
        """The same candidate at the largest number of labels, where ceilings and controls are judged."""
        return attempt if attempt.labels is None else Attempt(attempt.candidate, self.grid[-1])

    def crashed(self, attempts: Iterable[Attempt]) -> bool:
        """Whether any of some attempts failed, or a control of theirs at the largest number of labels."""
        wanted = set(attempts)
        controlled = {self.largest(attempt) for attempt in wanted}
        return any(
            outcome.status == "failed"
            and (entry.attempt in wanted or (entry.arm != "attack" and entry.attempt in controlled))
            for entry, outcome in self.outcomes.items()
        )

    def uncontrolled(self, attempt: Attempt) -> bool:
        """Whether an attempt that reads labels lacks its shuffled control."""
        return attempt.candidate in self.readers and not self.measured(self.largest(attempt), "shuffled")

    def _control_failed(self, attempt: Attempt) -> bool:
        """Whether the shuffled control crashed: nobody knows whether the attempt is honest, so it is not chosen."""
        found = [self.outcomes.get(Entry(self.largest(attempt), "shuffled", seed)) for seed in self.seeds]
        return any(outcome is not None and outcome.status == "failed" for outcome in found)

    def cannot_learn(self, attempts: Iterable[Attempt]) -> str | None:
        """Why no attempt with labels could be made, when there should have been some and none failed."""
        learned = [attempt for attempt in attempts if attempt.labels is not None]
        outcomes = [o for e, o in self.outcomes.items() if e.attempt in learned and e.arm == "attack"]
        if not outcomes or any(outcome.status != "not_applicable" for outcome in outcomes):
            return None
        reasons = Counter(outcome.reason for outcome in outcomes if outcome.reason)
        return reasons.most_common(1)[0][0] if reasons else "no adversary with labels applies"

    def dishonest(self, attempt: Attempt) -> tuple[str, ...]:
        """Honesty flags of an attempt; any of them drops it."""
        found = set(self.common) & set(health.HONESTY)
        for outcome in self.measured(attempt, "attack"):
            found |= set(outcome.flags) & set(health.HONESTY)
        shuffled = self.measured(self.largest(attempt), "shuffled")
        cells = max(1, sum(entry.arm == "shuffled" for entry in self.outcomes))
        for outcome in shuffled:
            hits, n = int(outcome.targets.sum()), len(outcome.targets)
            if estimates.binomial_upper_tail(hits, n, outcome.chance) < health.LEVEL / cells:
                found.add("SHUFFLED_ABOVE_CHANCE")
        return tuple(sorted(found))

    def doubts(self, attempt: Attempt) -> tuple[str, ...]:
        """All flags of one attempt by itself: power, honesty, and those that inform."""
        flags = set(self.common) | set(self.dishonest(attempt))
        outcomes = self.measured(attempt, "attack")
        for outcome in outcomes:
            flags |= set(outcome.flags)
        floor_rate = estimates.rate(int(self.floor.sum()), len(self.floor))
        ceilings = self.measured(self.largest(attempt), "ceiling")
        for outcome in ceilings:
            ceiling = estimates.rate(int(outcome.targets.sum()), len(outcome.targets))
            if (ceiling.low or 0.0) <= (floor_rate.high or 1.0):
                flags.add("CEILING_MISSED")
        if not ceilings:
            flags.add("CEILING_MISSED")
        for outcome in outcomes:
            low = estimates.rate(int(outcome.targets.sum()), len(outcome.targets)).low or 0.0
            if low <= (floor_rate.value or 0.0):
                flags.add("AT_FLOOR")
        if self._unconverged(attempt):
            flags.add("NOT_CONVERGED")
        if self._misses_planted(attempt):
            flags.add("PLANTED_MISSED")
        if attempt.candidate in self.calibrated and attempt == self.largest(attempt):
            flags.discard("UNCALIBRATED")
        if self.unchecked and attempt.candidate in self.trained:
            flags.add("CONVERGENCE_UNCHECKED")
        return tuple(sorted(flags))

    def missed(self, chosen: Attempt, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Honest candidates whose lower bound on the targets exceeds the chosen one's value: selection missed them."""
        rivals = [a for a in attempts if a != chosen and self.measured(a, "attack") and not self.dishonest(a)]
        alpha = health.LEVEL / max(1, len(rivals))
        found = []
        for rival in rivals:
            pairs = zip(self.measured(rival, "attack"), self.measured(chosen, "attack"), strict=True)
            for theirs, ours in pairs:
                low = estimates.rate(int(theirs.targets.sum()), len(theirs.targets), alpha).low or 0.0
                if low > float(ours.targets.mean()):
                    found.append(rival)
                    break
        return found

    def clearly_above(self, stronger: Attempt, weaker: Attempt) -> bool:
        """Whether one attempt beats another on the same targets beyond chance, corrected for the number of cells."""
        cells = max(1, sum(entry.arm == "attack" for entry in self.outcomes))
        pairs = zip(self.measured(stronger, "attack"), self.measured(weaker, "attack"), strict=True)
        return any(
            estimates.mcnemar(int((a.targets > b.targets).sum()), int((a.targets < b.targets).sum()))
            < health.LEVEL / cells
            for a, b in pairs
        )

    def _misses_planted(self, attempt: Attempt) -> bool:
        """Whether a label planted in a copy of the release is not found, although there was room to find it.

        Found is what beats the floor, or on the same targets the attack on the release itself.
        """
        largest = self.largest(attempt)
        for planted, once in zip(self.measured(largest, "planted"), self.measured(largest, "attack"), strict=False):
            n, floor = len(once.targets), float(self.floor.mean())
            room = int((1 - once.targets).sum()) * PLANTED
            above = [estimates.rate(int(o.targets.sum()), n, health.LEVEL).low or 0.0 for o in (planted, once)]
            gained, lost = int((planted.targets > once.targets).sum()), int((planted.targets < once.targets).sum())
            if room >= ROOM and max(above) <= floor and estimates.mcnemar(gained, lost) >= health.LEVEL:
                return True
        return False

    def _unconverged(self, attempt: Attempt) -> bool:
        doubled = self.measured(attempt, "attack", doubled=True)
        checks = max(1, sum(entry.doubled for entry in self.outcomes))
        for more, once in zip(doubled, self.measured(attempt, "attack"), strict=False):
            gained, lost = int((more.targets > once.targets).sum()), int((more.targets < once.targets).sum())
            moved = (gained - lost) / len(once.targets) > CONVERGENCE_MARGIN
            if moved and estimates.mcnemar(gained, lost) < 0.05 / checks:
                return True
        return False


def _validation(outcomes: Sequence[Outcome]) -> float:
    """Mean accuracy on the validation part over seeds."""
    return float(np.mean([outcome.validation.mean() for outcome in outcomes])) if outcomes else -1.0
