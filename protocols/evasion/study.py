"""Conducting `evasion`: every attack on the deployed pipeline, its controls, and the per-target worst case.

Axes: a attacks, n targets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.libraries import versions
from adversaries.goals.worst_case import above, at_floor, clearly_below, unconverged, worst_case
from protocols.engine.budget import BALLS
from protocols.engine.identity import model_digest
from protocols.engine.task import Outcome, Rows
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.context import Context
from protocols.evaluation.results import Arm, Attempt, Trial
from protocols.evaluation.statistic import FEW
from protocols.evasion.plan import Plan
from protocols.evasion.tasks import ARMS, AttackTask, BaselineTask, EvasionTask
from vfc.errors import NotApplicableError

BASELINE = -1
"""Position of the random step, which every attack is compared with, before the first candidate."""


def trial_of(candidate: int, norm: str, arm: Arm, seed: int, doubled: bool = False) -> Trial:
    """One attack, or the baseline, in all balls of one norm; what it is granted is the norm."""
    return Trial(Attempt(candidate, norm), arm, seed, doubled)


def baseline_of(trial: Trial) -> Trial:
    """The random step in the same balls."""
    return trial._replace(attempt=trial.attempt._replace(candidate=BASELINE))


def norm_of(trial: Trial) -> str:
    """The norm of a trial's balls."""
    return str(trial.attempt.budget)


@dataclass(frozen=True, kw_only=True)
class Tournament:
    """All outcomes of one run of `evasion`.

    Args:
        context: the run.
        plan: who attacks.
        outcomes: what is done.
    """

    context: Context
    plan: Plan
    outcomes: dict[Trial, Outcome] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Targets that are attacked."""
        return min(self.plan.rows, len(self.context.prepared.world.targets))

    @property
    def contenders(self) -> list[int]:
        """Positions of those whom the threat level allows."""
        return [i for i, each in enumerate(self.plan.contenders) if each.level in self.context.levels]

    def run(self) -> None:
        """Everything: attacks, rescues where the defense gives no gradient, controls, and the doubling check.

        Raises:
            NotApplicableError: there is no pipeline to attack; says why.
        """
        self._require()
        seeds = self.context.seeds
        arms = ARMS if self.has_ceiling else ARMS[:1]
        first = [i for i in self.contenders if not self.plan.contenders[i].rescue]
        self._do("evasion", (trial_of(BASELINE, norm, arm, seed) for norm in BALLS for arm in arms for seed in seeds))
        self._do("evasion", self._keys(first, arms))
        rescues = [i for i in self.contenders if self.plan.contenders[i].rescue]
        masked = [norm for norm in BALLS if any(self.masked(norm, seed) for seed in seeds)]
        self._do("evasion without gradients", [key for key in self._keys(rescues, arms) if norm_of(key) in masked])
        if self.plan.doubling:
            chosen = {(norm_of(best), best.attempt.candidate) for best in self._strongest()}
            keys = [trial_of(i, norm, "attack", seed, True) for norm, i in sorted(chosen) for seed in seeds]
            self._do("doubling checks", keys)

    @property
    def has_ceiling(self) -> bool:
        """Whether the target can be attacked alone."""
        return self.context.prepared.target.clean is not None

    def measured(self, norm: str, arm: Arm, seed: int) -> list[tuple[int, Outcome]]:
        """Attacks in one norm that were measured, with their positions."""
        found = [(i, self.outcomes.get(trial_of(i, norm, arm, seed))) for i in range(len(self.plan.contenders))]
        return [(i, outcome) for i, outcome in found if outcome is not None and outcome.status == "measured"]

    def right(self, key: Trial, ball: Ball) -> Rows | None:
        """Right or wrong per target in one ball; None if it was not measured there."""
        outcome = self.outcomes.get(key)
        if outcome is None or outcome.status != "measured":
            return None
        budgets = self._budgets(norm_of(key), key.arm)
        return outcome.arrays["right"][budgets.index(ball.budget)] if ball.budget in budgets else None

    def worst(self, ball: Ball, arm: Arm, seed: int, levels: Iterable[str] | None = None) -> Rows | None:
        """The worst case per target in one ball over attacks of some levels; None if nothing was measured."""
        budgets = self._budgets(ball.norm, arm)
        baseline = self.outcomes.get(trial_of(BASELINE, ball.norm, arm, seed))
        if ball.budget not in budgets or baseline is None or baseline.status != "measured":
            return None
        place = budgets.index(ball.budget)
        levels = self.context.levels if levels is None else levels
        entries = [
            outcome.arrays
            for i, outcome in self.measured(ball.norm, arm, seed)
            if self.plan.contenders[i].level in levels
        ]
        if not entries:
            return None
        names = {"right": "untouched", "share": "share", "margin": "margin"}
        return worst_case(
            **{name: [baseline.arrays[own], *(each[name][place] for each in entries)] for name, own in names.items()}
        )

    def masked(self, norm: str, seed: int) -> bool:
        """Whether no attack that follows the pipeline's own gradient got any."""
        exact = [o for i, o in self.measured(norm, "attack", seed) if self.plan.contenders[i].exact]
        return bool(exact) and all("ZERO_GRADIENT" in outcome.flags for outcome in exact)

    def flags(self, ball: Ball, seed: int) -> tuple[str, ...]:
        """Doubts about the worst case in one ball."""
        found = set(self.common)
        own = [o for key, o in self.outcomes.items() if norm_of(key) == ball.norm and key.arm == "attack"]
        if any(outcome.status == "failed" or "CRASHED" in outcome.flags for outcome in own):
            found.add("CRASHED")
        if any("OUT_OF_BOUNDS" in outcome.flags for outcome in own):
            found.add("OUT_OF_BOUNDS")
        if self.masked(ball.norm, seed):
            found.add("ZERO_GRADIENT")
        if not self.ceiling_reached(ball, seed):
            found.add("CEILING_MISSED")
        if self.above(self.worst(ball, "attack", seed, ["L4"]), self.worst(ball, "attack", seed, ["L3"])):
            found.add("WEAKER_THAN_LOWER_LEVEL")
        floor, worst = self.right(trial_of(BASELINE, ball.norm, "attack", seed), ball), self.worst(ball, "attack", seed)
        if at_floor(worst, floor):
            found.add("AT_FLOOR")
        return tuple(sorted(found | self._convergence(ball, seed)))

    @property
    def common(self) -> tuple[str, ...]:
        """Flags of every attack: the run's own, and those of the release."""
        observed = set(self.context.prepared.observed.health) & {"RANDOM_RELEASE"}
        few = {"TOO_FEW_TARGETS"} if self.rows < FEW else set()
        return tuple(sorted({*self.context.common, *observed, *few}))

    def ceiling_reached(self, ball: Ball, seed: int) -> bool:
        """Whether the attacks fool the target alone better than a random step, in this ball or the largest done."""
        if not self.has_ceiling:
            return True
        budget = ball.budget if ball.budget in self._budgets(ball.norm, "ceiling") else BALLS[ball.norm][-1]
        shown = Ball(norm=ball.norm, budget=budget)
        worst = self.worst(shown, "ceiling", seed)
        floor = self.right(trial_of(BASELINE, ball.norm, "ceiling", seed), shown)
        return worst is not None and floor is not None and clearly_below(worst, floor)

    def above(self, right: Rows | None, other: Rows | None) -> bool:
        """Whether more targets are right under the first than under the second, beyond chance for all tasks."""
        return above(right, other, max(1, len(self.outcomes)))

    def _convergence(self, ball: Ball, seed: int) -> set[str]:
        """NOT_CONVERGED and BUDGET_NOT_MONOTONE of the doubled attack, or that nobody looked."""
        if not self.plan.doubling:
            return {"CONVERGENCE_UNCHECKED"}
        found = set()
        for key, _ in list(self.outcomes.items()):
            if not key.doubled or norm_of(key) != ball.norm or key.seed != seed:
                continue
            more, once = self.right(key, ball), self.right(key._replace(doubled=False), ball)
            if more is None or once is None:
                continue
            if unconverged(more, once):
                found.add("NOT_CONVERGED")
            if self.above(more, once):
                found.add("BUDGET_NOT_MONOTONE")
        return found

    def _strongest(self) -> list[Trial]:
        """For each norm and seed the attack that leaves the fewest targets right, over all balls."""
        found = []
        for norm in BALLS:
            for seed in self.context.seeds:
                entries = self.measured(norm, "attack", seed)
                if entries:
                    best = min(entries, key=lambda entry: (entry[1].arrays["right"].mean(), entry[0]))
                    found.append(trial_of(best[0], norm, "attack", seed))
        return found

    def _keys(self, contenders: Iterable[int], arms: Iterable[Arm]) -> list[Trial]:
        return [
            trial_of(i, norm, arm, seed)
            for i in contenders
            for norm in self.plan.contenders[i].norms
            for arm in arms
            # On the target alone there is one gradient only, so its stand-ins would be the same attack again.
            if arm == "attack" or self.plan.contenders[i].settings.get("gradient", "exact") == "exact"
            for seed in self.context.seeds
        ]

    def _budgets(self, norm: str, arm: Arm) -> list[str]:
        whole = arm == "attack" or self.plan.ceiling_everywhere
        return list(BALLS[norm] if whole else BALLS[norm][-1:])

    def _require(self) -> None:
        prepared = self.context.prepared
        if prepared.publisher is None:
            raise NotApplicableError("only releases were given, and no defense to ask")
        if prepared.target.release is None:
            raise NotApplicableError(prepared.targetless or "the release names no target model")
        if not self.contenders:
            raise NotApplicableError("attacks on the input query the pipeline, which --threat L3 and above grant")

    def _do(self, stage: str, keys: Iterable[Trial]) -> None:
        wanted = [key for key in keys if key not in self.outcomes]
        # Slow ones first, so that no core waits at the end.
        wanted.sort(key=lambda key: (key.arm == "attack", key.attempt.candidate), reverse=True)
        orders = [self._order(key) for key in wanted]
        self.outcomes.update(zip(wanted, self.context.runner.run(stage, orders), strict=True))

    def _order(self, key: Trial) -> QueuedTask:
        prepared = self.context.prepared
        publisher = prepared.publisher
        if publisher is None:  # `_require` has looked
            raise NotApplicableError("only releases were given, and no defense to ask")
        attacked = key.arm == "attack"
        # On the target alone nothing is random, and nothing depends on the defense.
        common: dict[str, Any] = {
            "norm": norm_of(key),
            "budgets": self._budgets(norm_of(key), key.arm),
            "label": prepared.parts.task,
            "rows": self.rows,
            "draws": self.plan.draws if attacked and prepared.observed.stochastic else 1,
            "arm": key.arm,
            "seed": key.seed,
            "data": prepared.digests.clean,
            "pipeline": prepared.defense_digest if attacked else model_digest(publisher.defense.target),
        }
        task: EvasionTask = BaselineTask(**common)
        title = f"random step, {norm_of(key)}, {key.arm}"
        if key.attempt.candidate >= 0:
            contender = self.plan.contenders[key.attempt.candidate]
            title = f"{contender.candidate.name}, {norm_of(key)}, {key.arm}"
            task = AttackTask(
                **common,
                adversary=contender.candidate.adversary,
                settings=dict(contender.settings),
                doubled=key.doubled,
                libraries=versions(),
            )
        folder = self.context.cells if attacked else self.context.shared
        return QueuedTask(task, prepared.place, folder, title)
