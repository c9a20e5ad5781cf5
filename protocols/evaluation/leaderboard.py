"""Ranks everybody who competes by one statistic: who is strongest, who is not honest, whom selection has missed.

A contestant is an attempt, read in one variant of the statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from adversaries import health
from adversaries.evidence import Value
from adversaries.statistics import estimates, levels
from protocols.engine.task import AGREEMENT, TURNED, Outcome, Rows
from protocols.evaluation.results import Arm, Attempt, Results
from protocols.evaluation.statistic import Statistic


class Contestant(NamedTuple):
    """An attempt read in one variant of a statistic."""

    attempt: Attempt
    variant: str = ""


Measure = Callable[[Contestant, Rows, int], Value]
"""From a contestant, its rows on the targets and the seed to one number."""


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Results, ranked by one statistic. Only the attacker's validation part ranks; the targets play no part.

    Args:
        results: what is known so far.
        statistic: how it is measured.
    """

    results: Results
    statistic: Statistic

    def contestants(self, attempts: Iterable[Attempt], arm: Arm = "attack") -> list[Contestant]:
        """Every measured attempt in every variant."""
        found = [Contestant(attempt, variant) for attempt in attempts for variant in self.statistic.variants]
        return [contestant for contestant in found if self.rows(contestant, arm)]

    def rows(
        self, contestant: Contestant, arm: Arm = "attack", *, part: str = "targets", doubled: bool = False
    ) -> list[Rows]:
        """Numbers per row of a part, one array per seed; nothing unless all seeds were measured."""
        outcomes = self.results.measured(contestant.attempt, arm, doubled=doubled)
        found = [self.statistic.rows(outcome.arrays, part, contestant.variant) for outcome in outcomes]
        rows = [each for each in found if each is not None]
        return rows if len(rows) == len(found) else []

    def strength(self, contestant: Contestant, arm: Arm = "attack") -> float:
        """Mean on the validation part, over seeds, above the floor's first blind guesser on the same rows.

        Some adversaries can afford only some rows; the difference makes them comparable with those that read all.
        """
        ours, base = self.rows(contestant, arm, part="validation"), self._base(arm)
        gains = [
            float(rows.mean()) - (float(base[turn][: len(rows)].mean()) if base else 0.0)
            for turn, rows in enumerate(ours)
        ]
        return float(np.mean(gains)) if gains else -np.inf

    def choose(self, attempts: Iterable[Attempt], arm: Arm = "attack") -> Contestant | None:
        """The strongest honest contestant on the attacker's validation part; of equals as the statistic says."""
        best, chosen = (-np.inf, -np.inf), None
        for contestant in self.contestants(attempts, arm):
            if self.dishonest(contestant.attempt) or self.results.control_failed(contestant.attempt):
                continue
            score = (self.strength(contestant, arm), self._second(contestant))
            if score > best:
                best, chosen = score, contestant
        return chosen

    def dishonest(self, attempt: Attempt) -> tuple[str, ...]:
        """Honesty flags of an attempt; any of them drops it."""
        results = self.results
        found = set(results.common) & set(health.HONESTY)
        for outcome in results.measured(attempt, "attack"):
            found |= set(outcome.flags) & set(health.HONESTY)
        level = health.LEVEL / results.count("shuffled")
        for outcome in results.measured(results.largest(attempt), "shuffled"):
            if self.statistic.above_chance(outcome.arrays, level):
                found.add("SHUFFLED_ABOVE_CHANCE")
        return tuple(sorted(found))

    def missed(self, chosen: Contestant, attempts: Iterable[Attempt]) -> list[Contestant]:
        """Honest contestants that are clearly stronger on the targets than the chosen one: selection missed them."""
        rivals = [each for each in self.contestants(attempts) if each != chosen and not self.dishonest(each.attempt)]
        level = health.LEVEL / max(1, len(rivals))

        def missed(rival: Contestant) -> bool:
            pairs = zip(self.rows(rival), self.rows(chosen), strict=True)
            return any(self.statistic.missed(theirs, ours, level) for theirs, ours in pairs)

        return [rival for rival in rivals if missed(rival)]

    def below_floor(self, attempt: Attempt) -> bool:
        """Whether an attempt is right less often than its guesses would be by chance: it knows something."""
        level = health.LEVEL / len(self.results.competitors)
        return any(_below_agreement(outcome, level) for outcome in self.results.measured(attempt, "attack"))

    def contenders(self, chosen: Contestant, attempts: Iterable[Attempt]) -> list[Contestant]:
        """Honest contestants whose number could decide a gate that the chosen one's does not.

        Left out is who is clearly weaker: whose upper bound, at the strictest level at which gates are judged, is below
        the chosen one's own upper bound. Nobody is left out where the metric is another number than what is ranked.
        """
        found = [each for each in self.contestants(attempts) if each != chosen and not self.dishonest(each.attempt)]
        return [each for each in found if not self.statistic.decides or self._may_decide(self.rows(each), chosen)]

    def turned(self, chosen: Contestant, attempts: Iterable[Attempt]) -> list[Contestant]:
        """Honest contestants below the floor that might know more than the chosen one, once they are turned around.

        Then a guess stands for what it most often comes with on the validation part. Nobody where anything but right
        and wrong about a label is ranked.
        """
        if self.statistic.array:
            return []
        below = [attempt for attempt in attempts if not self.dishonest(attempt) and self.below_floor(attempt)]

        def may_know(attempt: Attempt) -> bool:
            rows = [each.arrays.get(TURNED) for each in self.results.measured(attempt, "attack")]
            known = [each for each in rows if each is not None]
            return len(known) < len(rows) or self._may_decide(known, chosen)

        return [each for each in self.contestants(below) if each != chosen and may_know(each.attempt)]

    def _may_decide(self, others: Sequence[Rows], chosen: Contestant) -> bool:
        """Whether some rows, by seed, are not clearly weaker than the chosen contestant's."""
        least = [self.statistic.value(rows).high for rows in self.rows(chosen)]
        highs = [self.statistic.value(rows, alpha=health.LEVEL).high for rows in others]
        return any(high is None or low is None or high >= low for high, low in zip(highs, least, strict=True))

    def within(self, other: Contestant, chosen: Contestant) -> bool:
        """Whether a contestant's number is not below the chosen one's interval, in any seed."""
        lows = [self.statistic.value(rows).low for rows in self.rows(chosen)]
        numbers = [self.statistic.value(rows).value for rows in self.rows(other)]
        return any(low is None or (n is not None and n >= low) for n, low in zip(numbers, lows, strict=True))

    def name(self, contestant: Contestant) -> str:
        """A contestant as reports call it."""
        attempt, variant = contestant
        words = [self.results.of(attempt).candidate.name, *([variant] if variant else [])]
        return " ".join([*words, *([f"@{attempt.budget}"] if attempt.budget is not None else [])])

    def clearly_above(self, stronger: Contestant, weaker: Contestant) -> bool:
        """Whether one contestant beats another on the same targets beyond chance, corrected for all comparisons."""
        pairs = zip(self.rows(stronger), self.rows(weaker), strict=True)
        level = health.LEVEL / self._comparisons("attack")
        return any(self.statistic.above(more, less, level) for more, less in pairs)

    def unconverged(self, contestant: Contestant) -> bool:
        """Whether twice the training makes a contestant clearly stronger."""
        pairs = zip(self.rows(contestant, doubled=True), self.rows(contestant), strict=False)
        doubled = max(1, sum(trial.doubled for trial in self.results.outcomes))
        level = 0.05 / (doubled if self.statistic.corrected_for == "trials" else self._comparisons("attack"))
        return any(self.statistic.above(more, once, level, self.statistic.margin) for more, once in pairs)

    def floor(self, count: int) -> Value:
        """The best guess without the release, on the first `count` targets."""
        statistic = self.statistic
        if statistic.floor is not None:
            return statistic.floor_value(count)
        guessers = self.contestants(a for a in self.results.tried() if self.results.of(a).blind)
        best = max(guessers, key=self.strength, default=None)
        if best is None:
            return Value.unknown("the floor's guesser was not measured", unit=statistic.unit)
        return statistic.value(self.rows(best)[0][:count])

    def seeing(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        """Those who look at releases."""
        return [attempt for attempt in attempts if not self.results.of(attempt).blind]

    def on_all_targets(self, attempts: Sequence[Attempt]) -> list[Attempt]:
        """Those who were graded on as many targets as anybody."""
        graded = {each.attempt: self.rows(each) for each in self.contestants(self.results.tried())}
        most = max((len(row) for rows in graded.values() for row in rows), default=0)
        return [attempt for attempt in attempts if all(len(row) == most for row in graded.get(attempt, []))]

    def over_seeds(self, contestant: Contestant, measure: Measure, arm: Arm = "attack") -> Value:
        """One number of a contestant, over seeds and, where labelled releases are drawn, over draws."""
        if arm == "attack" and self.results.drawn(contestant.attempt):
            return levels.over_draws([measure(contestant, rows, seed) for seed, rows in self._draws(contestant)])
        pairs = zip(self.results.seeds, self.rows(contestant, arm), strict=True)
        return levels.over_seeds([measure(contestant, rows, seed) for seed, rows in pairs])

    def draws(self, contestant: Contestant) -> int:
        """Of how many sets of labelled releases a number is the mean; 0 where that is no matter of luck."""
        return len(self._draws(contestant)) if self.results.drawn(contestant.attempt) else 0

    def _draws(self, contestant: Contestant) -> list[tuple[int, Rows]]:
        found = self.results.over_draws(contestant.attempt)
        rows = [(seed, self.statistic.rows(each.arrays, "targets", contestant.variant)) for seed, each in found]
        return [(seed, each) for seed, each in rows if each is not None]

    def _second(self, contestant: Contestant) -> float:
        """What decides between equals."""
        results, attempt = self.results, contestant.attempt
        if self.statistic.ties == "ceiling":
            return self.strength(contestant._replace(attempt=results.largest(attempt)), "ceiling")
        if attempt.budget is not None:
            return float(results.grid.index(attempt.budget))
        return -1.0 if results.of(attempt).blind else float(len(results.grid) - 1)

    def _comparisons(self, arm: Arm) -> int:
        """How many comparisons a level is divided by."""
        trials = self.statistic.corrected_for == "trials"
        return self.results.count(arm) if trials else max(1, len(self.results.tried()))

    def _base(self, arm: Arm) -> list[Rows]:
        """The first blind guesser on the validation part."""
        for position, competitor in enumerate(self.results.competitors):
            if competitor.blind:
                first = Contestant(Attempt(position, None), self.statistic.variants[0])
                if rows := self.rows(first, arm, part="validation"):
                    return rows
        return []


def _below_agreement(outcome: Outcome, level: float) -> bool:
    """Whether guesses are right less often than guesses as frequent as these would be by chance."""
    if AGREEMENT not in outcome.arrays:
        return False
    hits, n = int(outcome.targets.sum()), len(outcome.targets)
    return estimates.binomial_upper_tail(n - hits, n, 1 - float(outcome.arrays[AGREEMENT][0])) < level
