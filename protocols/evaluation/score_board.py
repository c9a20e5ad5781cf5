"""All outcomes of an attack that is measured in several ways at once, and who is chosen for each, and who is doubtful.

An aspect is one way to measure (PSNR, identification, ...); a contestant is an attempt, read in one of the aspect's
variants (which rule looks for the original, which clean model reads a reconstruction).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from adversaries import health
from adversaries.evidence import Value
from adversaries.statistics import estimates, intervals, levels
from protocols.engine.trial import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.luck import above_chance

Rows = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Aspect:
    """One way to measure.

    Args:
        name: of the metric in the catalog.
        goal: as evidence says it.
        array: name of the outcome's array, after the part's.
        variants: endings of that name to choose among; one empty ending: the array itself.
        unit: of the number.
        hits: whether rows are right or wrong.
        margin: twice the training may raise the mean by this much before the attack counts as not converged.
    """

    name: str
    goal: str
    array: str
    variants: tuple[str, ...] = ("",)
    unit: str = "rate"
    hits: bool = True
    margin: float = 0.02


class Attempt(NamedTuple):
    """A candidate with the pairs that it was granted; None if it is tried with one number of pairs only."""

    candidate: int
    pairs: int | str | None


class Contestant(NamedTuple):
    """An attempt read in one variant of an aspect."""

    attempt: Attempt
    variant: str = ""


class Spot(NamedTuple):
    """Where an outcome stands on the board."""

    attempt: Attempt
    arm: str
    seed: int
    doubled: bool = False


@dataclass
class ScoreBoard:
    """Outcomes of one attack.

    Args:
        candidates: who competes; the last ones are the floor's guessers.
        levels: threat level of each.
        seeds: attack seeds.
        grid: numbers of pairs, ascending.
        blind: candidates that never look at the release; the first of them is what gains are measured from.
        common: flags that hold for every adversary of the run.
        floors: per aspect, the floor of every target; None where the blind candidates are the floor.
        few: fewer graded targets than this are too few.
        outcomes: what is known so far.
        unchecked: whether the budget skips the doubling check.
        trained: candidates whose training could be doubled.
        calibrated: candidates whose power with the most pairs is known from calibration.
    """

    candidates: list[Candidate]
    levels: list[str]
    seeds: tuple[int, ...]
    grid: tuple[int | str, ...]
    blind: frozenset[int] = frozenset()
    common: tuple[str, ...] = ()
    floors: Mapping[str, Rows] = field(default_factory=dict)
    few: int = 100
    outcomes: dict[Spot, Outcome] = field(default_factory=dict)
    unchecked: bool = False
    trained: frozenset[int] = frozenset()
    calibrated: frozenset[int] = frozenset()

    def tried(self) -> list[Attempt]:
        """Every attempt with an outcome of its attack, in order of candidates and pairs."""
        order = {pairs: position for position, pairs in enumerate((None, *self.grid))}
        attempts = {spot.attempt for spot in self.outcomes if spot.arm == "attack" and not spot.doubled}
        return sorted(attempts, key=lambda attempt: (attempt.candidate, order[attempt.pairs]))

    def measured(self, attempt: Attempt, arm: str, *, doubled: bool = False) -> list[Outcome]:
        """The outcomes of all seeds, or nothing unless all were measured."""
        found = [self.outcomes.get(Spot(attempt, arm, seed, doubled)) for seed in self.seeds]
        measured = [outcome for outcome in found if outcome is not None and outcome.status == "measured"]
        return measured if len(measured) == len(self.seeds) else []

    def largest(self, attempt: Attempt) -> Attempt:
        """The same candidate with the most pairs, where ceilings and controls are judged."""
        return attempt if attempt.pairs is None else Attempt(attempt.candidate, self.grid[-1])

    def contestants(self, aspect: Aspect, attempts: Iterable[Attempt]) -> list[Contestant]:
        """Every measured attempt in every variant."""
        return [
            Contestant(attempt, variant)
            for attempt in attempts
            for variant in aspect.variants
            if self.rows(aspect, Contestant(attempt, variant))
        ]

    def rows(
        self,
        aspect: Aspect,
        contestant: Contestant,
        *,
        arm: str = "attack",
        part: str = "targets",
        doubled: bool = False,
    ) -> list[Rows]:
        """Numbers per row of a part, one array per seed; nothing unless all seeds were measured."""
        key = ".".join(word for word in (part, aspect.array, contestant.variant) if word)
        outcomes = self.measured(contestant.attempt, arm, doubled=doubled)
        if any(key not in outcome.arrays for outcome in outcomes):
            return []
        return [np.asarray(outcome.arrays[key], dtype=np.float64) for outcome in outcomes]

    def graded_on_all(self, aspect: Aspect, contestant: Contestant) -> bool:
        """Whether it was graded on as many targets as anybody."""
        most = max(
            (len(row) for c in self.contestants(aspect, self.tried()) for row in self.rows(aspect, c)), default=0
        )
        return all(len(row) == most for row in self.rows(aspect, contestant))

    def strength(self, aspect: Aspect, contestant: Contestant, arm: str = "attack") -> float:
        """Mean on the validation part, over seeds, above the floor's first guesser on the same rows.

        Some adversaries can afford only some rows; the difference makes them comparable with those that read all.
        """
        ours = self.rows(aspect, contestant, arm=arm, part="validation")
        base = self._base(aspect, arm)
        gains = []
        for seed, rows in enumerate(ours):
            gains.append(float(rows.mean()) - (float(base[seed][: len(rows)].mean()) if base else 0.0))
        return float(np.mean(gains)) if gains else -np.inf

    def choose(self, aspect: Aspect, contestants: Iterable[Contestant], arm: str = "attack") -> Contestant | None:
        """The honest contestant that is best on the attacker's validation part.

        Of equals the one that was granted more pairs wins, then the one named first.
        """
        best, chosen = (-np.inf, -np.inf), None
        for contestant in contestants:
            if self.dishonest(contestant.attempt) or self._control_failed(contestant.attempt):
                continue
            pairs, blind = contestant.attempt.pairs, contestant.attempt.candidate in self.blind
            granted = self.grid.index(pairs) if pairs is not None else -1 if blind else len(self.grid) - 1
            strength = (self.strength(aspect, contestant, arm), float(granted))
            if strength > best:
                best, chosen = strength, contestant
        return chosen

    def value(self, aspect: Aspect, rows: Sequence[Rows], keys: Sequence[str] = ()) -> Value:
        """A number over seeds; `keys` say where the sidecar keeps its rows."""
        values = []
        for position, row in enumerate(rows):
            key = keys[position] if keys else None
            if aspect.hits:
                values.append(estimates.rate(int(row.sum()), len(row)).model_copy(update={"rows": key}))
            else:
                values.append(estimates.mean(row, aspect.unit, rows=key))
        return levels.over_seeds(values)

    def floor(self, aspect: Aspect, count: int) -> Value:
        """The best guess without the release, on the first `count` targets."""
        if aspect.array in self.floors:
            rows = self.floors[aspect.array][:count]
            if len(rows) and bool(np.isin(rows, (0, 1)).all()):
                return estimates.rate(int(rows.sum()), len(rows))
            return estimates.exact(float(rows.mean()), aspect.unit) if len(rows) else Value.unknown("no targets")
        guessers = self.contestants(aspect, (a for a in self.tried() if a.candidate in self.blind))
        best = max(guessers, key=lambda guesser: self.strength(aspect, guesser), default=None)
        if best is None:
            return Value.unknown("the floor's guesser was not measured", unit=aspect.unit)
        return self.value(aspect, [row[:count] for row in self.rows(aspect, best)[:1]])

    def dishonest(self, attempt: Attempt) -> tuple[str, ...]:
        """Honesty flags of an attempt; any of them drops it."""
        found = set(self.common) & set(health.HONESTY)
        for outcome in self.measured(attempt, "attack"):
            found |= set(outcome.flags) & set(health.HONESTY)
        cells = max(1, sum(spot.arm == "shuffled" for spot in self.outcomes))
        for outcome in self.measured(self.largest(attempt), "shuffled"):
            tests = list(above_chance(outcome.arrays))
            if any(p < health.LEVEL / (cells * len(tests)) for p in tests):
                found.add("SHUFFLED_ABOVE_CHANCE")
        return tuple(sorted(found))

    def doubts(self, aspect: Aspect, contestant: Contestant) -> tuple[str, ...]:
        """All flags of one contestant by itself: power, honesty, and those that inform."""
        attempt = contestant.attempt
        flags = set(self.common) | set(self.dishonest(attempt))
        for outcome in self.measured(attempt, "attack"):
            flags |= set(outcome.flags)
        rows = self.rows(aspect, contestant)
        count = min((len(row) for row in rows), default=0)
        if count < self.few:
            flags.add("TOO_FEW_TARGETS")
        floor = self.floor(aspect, count)
        if attempt.candidate not in self.blind:
            ceilings = self.rows(aspect, contestant._replace(attempt=self.largest(attempt)), arm="ceiling")
            lows = [self.value(aspect, [row]).low for row in ceilings]
            if not lows or floor.high is None or any(low is None or low <= floor.high for low in lows):
                flags.add("CEILING_MISSED")
        for row in rows:
            low = self.value(aspect, [row]).low
            if low is None or floor.value is None or low <= floor.value:
                flags.add("AT_FLOOR")
        if self.rows(aspect, contestant, doubled=True) and self.gains(aspect, contestant, contestant, doubled=True):
            flags.add("NOT_CONVERGED")
        if attempt.candidate in self.calibrated and attempt == self.largest(attempt):
            flags.discard("UNCALIBRATED")
        if self.unchecked and attempt.candidate in self.trained:
            flags.add("CONVERGENCE_UNCHECKED")
        return tuple(sorted(flags))

    def gains(
        self, aspect: Aspect, stronger: Contestant, weaker: Contestant, *, doubled: bool = False, tests: int = 0
    ) -> bool:
        """Whether one contestant beats another on the same targets beyond chance.

        Args:
            aspect: how both are measured.
            stronger, weaker: who is compared.
            doubled: compare `stronger` after twice the training, by more than the margin.
            tests: how many comparisons are made; 0: as many as there are attempts.
        """
        margin = aspect.margin if doubled else 0.0
        level = (0.05 if doubled else health.LEVEL) / max(1, tests or len(self.tried()))
        for more, less in zip(self.rows(aspect, stronger, doubled=doubled), self.rows(aspect, weaker), strict=False):
            count = min(len(more), len(less))
            apart = more[:count] - less[:count]
            if count < 2 or float(apart.mean()) <= margin:
                continue
            if aspect.hits:
                clear = estimates.mcnemar(int((apart > 0).sum()), int((apart < 0).sum())) < level
            else:
                clear = intervals.mean_bounds(apart, level)[1] > 0
            if clear:
                return True
        return False

    def missed(self, aspect: Aspect, chosen: Contestant, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Honest contestants that are clearly stronger on the targets than the chosen one: selection missed them."""
        rivals = [each for each in contestants if each != chosen and not self.dishonest(each.attempt)]
        return [rival for rival in rivals if self.gains(aspect, rival, chosen, tests=len(rivals))]

    def _control_failed(self, attempt: Attempt) -> bool:
        """Whether the shuffled control crashed: nobody knows whether the attempt is honest, so it is not chosen."""
        found = [self.outcomes.get(Spot(self.largest(attempt), "shuffled", seed)) for seed in self.seeds]
        return any(outcome is not None and outcome.status == "failed" for outcome in found)

    def _base(self, aspect: Aspect, arm: str) -> list[Rows]:
        """The floor's first guesser on the validation part."""
        for candidate in sorted(self.blind):
            rows = self.rows(
                aspect, Contestant(Attempt(candidate, None), aspect.variants[0]), arm=arm, part="validation"
            )
            if rows:
                return rows
        return []
