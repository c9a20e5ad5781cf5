"""From a leaderboard to evidence: one row per attempt and seed, with all arms and flags."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Status, Threat, Value
from adversaries.health import HARD
from adversaries.statistics import estimates
from adversaries.threat import Grant, grants
from protocols.engine.task import EXPOSED, Outcome, Rows
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.flags import compared_with_planted, health_flags
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.results import Attempt, Trial

Sidecar = dict[str, Rows]
"""Arrays of the report by key."""


def threat_of(level: str, budget: AttackBudget | None = None) -> Threat:
    """The threat model of a level as evidence says it."""
    knows = tuple(each.name.lower() for each in Grant if each in grants(level) and each.name)
    return Threat(level=level, knows=knows, budget=budget or AttackBudget())


def unmeasured(
    protocol: str, candidate: Candidate, goal: str, threat: Threat, seed: int, status: Status, reason: str | None
) -> Evidence:
    """What is said of a candidate without numbers; one that crashed might have been the strongest."""
    return Evidence(
        protocol=protocol,
        adversary=candidate.adversary,
        goal=goal,
        threat=threat,
        seed=seed,
        status=status,
        reason=reason,
        health=("CRASHED",) if status == "failed" else (),
        settings=dict(candidate.settings),
    )


def reference_row(protocol: str, goal: str, target: Rows, floor: Rows, seed: int) -> Evidence:
    """The target's own predictions (L5): a reference, never part of a headline number."""
    arms = Arms(
        attack=estimates.rate(int(target.sum()), len(target)), floor=estimates.rate(int(floor.sum()), len(floor))
    )
    return Evidence(
        protocol=protocol,
        adversary="target",
        goal=goal,
        threat=threat_of("L5"),
        seed=seed,
        status="measured",
        arms=arms,
    )


def labels_budget(attempt: Attempt) -> AttackBudget:
    """The budget of an attempt that was granted labelled releases."""
    labels: Any = attempt.budget
    return AttackBudget(labels_per_class=labels)


def pairs_budget(attempt: Attempt) -> AttackBudget:
    """The budget of an attempt that was granted pairs; all of them are no number."""
    return AttackBudget(pairs=attempt.budget if isinstance(attempt.budget, int) else None)


@dataclass(frozen=True, kw_only=True)
class EvidenceMaker:
    """Turns one leaderboard into evidence.

    Args:
        board: the outcomes and their statistic.
        protocol: name of the protocol.
        sidecar: arrays of the report; the rows of every attack are added.
        budget: from an attempt to what it was granted.
        pairs: whether settings say with how many pairs.
        controls_of_largest: whether attempts with smaller budgets show the controls of the largest.
        controls_of_absent: whether attempts that were not measured show those of their controls that were.
        beside: further numbers of the evidence that a number comes from.
        described: further fields of a measured row, from its outcome, or none.
    """

    board: Leaderboard
    protocol: str
    sidecar: Sidecar
    budget: Callable[[Attempt], AttackBudget] = labels_budget
    pairs: bool = False
    controls_of_largest: bool = False
    controls_of_absent: bool = True
    beside: Mapping[str, Value] = field(default_factory=dict)
    described: Callable[[Outcome], Mapping[str, Any]] | None = None

    def rows(
        self, chosen: Collection[Contestant], extra: Mapping[Attempt, set[str]], *, absent: bool = True
    ) -> list[Evidence]:
        """One row per attempt and seed, each in its strongest variant.

        Args:
            chosen: the contestants that numbers come from.
            extra: further flags by attempt, from comparisons between attempts.
            absent: whether attempts that were not measured are listed.
        """
        board, found = self.board, []
        for attempt in board.results.tried():
            own = board.contestants([attempt])
            contestant = next((each for each in own if each in chosen), None) or (
                max(own, key=board.strength) if own else Contestant(attempt, board.statistic.variants[0])
            )
            flags = tuple(sorted({*health_flags(board, contestant), *extra.get(attempt, ())}))
            for trial in board.results.trials([attempt], "attack"):
                outcome = board.results.outcomes[trial]
                if self._rows(outcome, contestant) is not None:
                    found.append(self._measured(contestant, trial, outcome, flags, contestant in chosen))
                elif absent and outcome.status != "measured":
                    found.append(self._unmeasured(contestant, trial, outcome))
        return found

    def key(self, contestant: Contestant, seed: int) -> str:
        """Where the sidecar keeps the rows of one seed."""
        attempt = contestant.attempt
        words = [self.board.results.of(attempt).candidate.name.replace(" ", "-")]
        words += [str(attempt.budget)] if attempt.budget is not None else []
        words += [contestant.variant] if contestant.variant else []
        return f"{self.protocol}/{self.board.statistic.goal}/{'@'.join(words)}/{seed}"

    def stored(self, contestant: Contestant, rows: Rows, seed: int) -> Value:
        """The number of one seed, with its rows kept in the sidecar."""
        key, statistic = self.key(contestant, seed), self.board.statistic
        self.sidecar[key] = rows.astype(np.uint8) if statistic.kind == "rate" else rows
        return statistic.value(rows, key=key)

    def _rows(self, outcome: Outcome | None, contestant: Contestant, part: str = "targets") -> Rows | None:
        if outcome is None or outcome.status != "measured":
            return None
        return self.board.statistic.rows(outcome.arrays, part, contestant.variant)

    def _value(self, outcome: Outcome | None, contestant: Contestant) -> Value | None:
        """The number of a control; None where it does not apply, and with a reason where it should have."""
        if outcome is not None and outcome.status == "failed":
            return Value.unknown(outcome.reason or outcome.status, unit=self.board.statistic.unit)
        rows = self._rows(outcome, contestant)
        return None if rows is None else self.board.statistic.value(rows)

    def _arms(self, contestant: Contestant, trial: Trial) -> dict[str, Value | None]:
        results = self.board.results
        found = {}
        for arm in ("ceiling", "shuffled", "undefended"):
            own = trial._replace(arm=arm)
            if self.controls_of_largest and own not in results.outcomes:
                own = own._replace(attempt=results.largest(trial.attempt))
            found[arm] = self._value(results.outcomes.get(own), contestant)
        return found

    def _checks(self, contestant: Contestant, trial: Trial) -> dict[str, Value]:
        """Twice the training, and the planted label, where they were measured."""
        found = {}
        for name, other in (("doubled", trial._replace(doubled=True)), ("planted", trial._replace(arm="planted"))):
            rows = self._rows(self.board.results.outcomes.get(other), contestant)
            if rows is not None:
                found[name] = self.board.statistic.value(rows)
        # A race says how far whom it left to run had come before, by the steps that it had taken.
        for outcome in list(self.board.results.rounds.get(trial, {}).values())[:-1]:
            rows = self._rows(outcome, contestant, "validation")
            if rows is not None:
                steps = int(outcome.cost["gradient_steps"])
                found[f"validation_after_{steps}_steps"] = self.board.statistic.value(rows)
        if self.board.draws(contestant) > 1:
            value = self.board.statistic.value
            found["over_draws"] = self.board.over_seeds(contestant, lambda _contestant, rows, _seed: value(rows))
        return found

    def _hard(self, contestant: Contestant, trial: Trial) -> dict[str, Value]:
        """Leaks of kinds that common readers miss, planted in a copy of the release, and whether they were found."""
        found, outcomes = {}, self.board.results.outcomes
        once = self._rows(outcomes.get(trial), contestant)
        for other, outcome in outcomes.items():
            if other.arm.startswith(HARD) and other._replace(arm=trial.arm) == trial:
                name, rows = f"planted.{other.arm.removeprefix(HARD)}", self._rows(outcome, contestant)
                if rows is not None and once is not None:
                    value, right = self.board.statistic.value(rows), self.board.statistic.right
                    found[name] = value.model_copy(update={"reason": compared_with_planted(right(once), right(rows))})
                elif rows is None:
                    # Else a reader that dies there would look as if nothing had been planted.
                    why = f"{outcome.status.replace('_', ' ')}: {outcome.reason or 'no reason was given'}"
                    found[name] = Value.unknown(why, unit=self.board.statistic.unit)
        return found

    def _measured(
        self, contestant: Contestant, trial: Trial, outcome: Outcome, flags: tuple[str, ...], chosen: bool
    ) -> Evidence:
        board, competitor = self.board, self.board.results.of(trial.attempt)
        rows = self._rows(outcome, contestant)
        if rows is None:  # the caller has looked
            raise ValueError("expected a measured outcome")
        validation = self._rows(outcome, contestant, "validation")
        metrics = {"validation": board.statistic.value(validation)} if validation is not None else {}
        metrics |= {**self._checks(contestant, trial), **exposed_by(outcome)}
        metrics |= self.beside if chosen else {}
        steps = {"steps": int(outcome.cost["gradient_steps"])}
        described = {
            "threat": threat_of(competitor.level, self.budget(trial.attempt).model_copy(update=steps)),
            "metrics": metrics,
            "settings": self._settings(contestant),
            **(self.described(outcome) if self.described is not None else {}),
        }
        described["metrics"] |= self._hard(contestant, trial)
        return Evidence(
            protocol=self.protocol,
            adversary=competitor.candidate.adversary,
            goal=board.statistic.goal,
            seed=trial.seed,
            status="measured",
            arms=Arms(
                attack=self.stored(contestant, rows, trial.seed),
                floor=board.floor(len(rows)),
                **self._arms(contestant, trial),
            ),
            health=flags,
            chosen=chosen,
            cost=Cost.model_validate(outcome.cost),
            **described,
        )

    def _unmeasured(self, contestant: Contestant, trial: Trial, outcome: Outcome) -> Evidence:
        competitor = self.board.results.of(trial.attempt)
        threat = threat_of(competitor.level, self.budget(trial.attempt))
        goal, status, reason = self.board.statistic.goal, outcome.status, outcome.reason
        found = unmeasured(self.protocol, competitor.candidate, goal, threat, trial.seed, status, reason)
        settings = self._settings(contestant._replace(variant=""))
        update: dict[str, Any] = {"settings": settings, "cost": Cost.model_validate(outcome.cost)}
        if self.controls_of_absent:
            arms = Arms(attack=self._value(outcome, contestant), **self._arms(contestant, trial))
            update |= {"arms": arms, "metrics": self._checks(contestant, trial)}
        return found.model_copy(update=update)

    def dropped(self, attempt: Attempt) -> int:
        """After how many rounds of a race an attempt was left out; 0 for those who ran whole."""
        results = self.board.results
        trials = [trial for trial in results.trials([attempt], "attack") if trial in results.rounds]
        whole = results.share(attempt) == 1.0
        return 0 if whole else max((len(results.rounds[trial]) for trial in trials), default=0)

    def _settings(self, contestant: Contestant) -> dict[str, Any]:
        settings = dict(self.board.results.of(contestant.attempt).candidate.settings)
        if self.pairs and contestant.attempt.budget is not None:
            settings["pairs"] = contestant.attempt.budget
        if dropped := self.dropped(contestant.attempt):
            settings["dropped"] = dropped
        if contestant.variant:
            settings["read_by"] = contestant.variant
        return settings


def exposed_by(outcome: Outcome) -> dict[str, Value]:
    """The share of targets that an attack picks out and names right, and how many of its picks are right."""
    if f"targets.{EXPOSED}" not in outcome.arrays:
        return {}
    hits, picked = (np.asarray(outcome.arrays[f"targets.{name}"]) for name in (EXPOSED, "picked"))
    found = {"exposed": estimates.rate(int(hits.sum()), len(hits))}
    return found | ({"precision": estimates.rate(int(hits.sum()), int(picked.sum()))} if picked.any() else {})
