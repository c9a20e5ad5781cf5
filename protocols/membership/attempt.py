"""One membership adversary with all its arms: the defense, permuted truth, a planted leak, and the target alone.

Axes: n members and n non-members.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Threat, Value
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Truth
from adversaries.goals.membership_grading import (
    GradedMembership,
    MembershipArm,
    MembershipInputs,
    assess_membership,
    hits_at,
)
from adversaries.health import LEVEL
from adversaries.statistics import estimates, levels
from adversaries.threat import Grant, grants
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import FEW, Context
from protocols.evaluation.overrides import with_overrides
from vfc.config import configured
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

NAME, GOAL = "membership", "membership"

FALSE_RATE = 0.01
"""False positive rate at which `membership.tpr@0.01` is read; it needs ten non-members per such share."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One candidate with all arms.

    Args:
        candidate: who attacked.
        graded: on the defense; None if it was not measured.
        arms: the other arms by name.
        health: doubts.
        reason: why it was not measured.
        failed: whether it crashed.
        seconds: spent.
        shadows: how many shadow defenses it had.
    """

    candidate: Candidate
    graded: GradedMembership | None
    arms: dict[str, Value | None]
    health: tuple[str, ...]
    reason: str | None
    failed: bool
    seconds: float
    shadows: int

    @classmethod
    def of(
        cls,
        context: Context,
        candidate: Candidate,
        world: MembershipInputs,
        bare: MembershipInputs | None,
        truth: Truth,
        seed: int,
    ) -> Attempt:
        """Attack in every arm; what goes wrong becomes a failed attempt, never silence.

        Args:
            context: the run.
            candidate: who attacks.
            world: the defense.
            bare: the target on the images themselves, or None.
            truth: who is a member.
            seed: of the controls.
        """
        started = time.perf_counter()
        candidate = with_overrides(candidate, context.settings)
        name, shadows = candidate.adversary, len(world.shadows.universe)
        graded, arms, health = None, dict[str, Value | None](), set(context.common)
        reason, failed = None, False
        try:
            adversary = configured(ADVERSARIES.get(name), dict(candidate.settings), name)
            graded = assess_membership(adversary, world, truth, arm="attack", seed=0)
            arms, doubts = _controls(adversary, world, bare, truth, seed)
            health |= doubts | (set() if graded.finite else {"NONFINITE_GUESS"})
            health |= {"AT_FLOOR"} if (graded.advantage.low or 0.0) <= 0 else set()
        except NotApplicableError as error:
            reason = str(error)
        except UserError:
            raise
        except Exception as error:
            graded, reason, failed = None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", True
        if len(truth) < 2 * FEW:
            health.add("TOO_FEW_TARGETS")
        return cls(
            candidate=candidate,
            graded=graded,
            arms=arms,
            health=tuple(sorted(health)) if graded is not None else (("CRASHED",) if failed else ()),
            reason=reason,
            failed=failed,
            seconds=time.perf_counter() - started,
            shadows=shadows,
        )

    @property
    def dishonest(self) -> bool:
        """Whether it sees what it must not, or returned no numbers."""
        return bool({"SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS"} & set(self.health))

    def beats(self, chosen: GradedMembership, rivals: int) -> bool:
        """Whether its lower bound exceeds what was chosen, corrected for the number of rivals."""
        if self.graded is None:
            return False
        low = levels.recompute(self.graded.advantage, LEVEL / max(1, rivals)).low
        return low is not None and low > (chosen.advantage.value or 0.0)

    def rate_at(self, truth: Truth) -> Value:
        """Share of the members found where 1 % of the non-members are called members too."""
        others, needed = int((~truth).sum()), round(10 / FALSE_RATE)
        if self.graded is None:
            return Value.unknown(self.reason or "not measured")
        if others < needed:
            return Value.unknown(f"needs {needed} non-members, and there are {others}")
        return estimates.rate(hits_at(self.graded.scores, truth, FALSE_RATE), int(truth.sum()))

    def evidence(self, seed: int, truth: Truth, *, chosen: bool) -> Evidence:
        """As the report says it."""
        graded = self.graded
        settings = {**self.candidate.settings, "shadows": self.shadows}
        if graded is None:
            return Evidence(
                protocol=NAME,
                adversary=self.candidate.adversary,
                goal=GOAL,
                threat=threat(),
                seed=seed,
                status="failed" if self.failed else "not_applicable",
                reason=self.reason,
                health=self.health,
                settings=settings,
            )
        on_shadows = Value(
            value=graded.calibrated.advantage,
            low=None,
            high=None,
            unit="difference",
            reason="this is what the threshold was chosen by",
        )
        return Evidence(
            protocol=NAME,
            adversary=self.candidate.adversary,
            goal=GOAL,
            threat=threat(),
            seed=seed,
            status="measured",
            arms=Arms(attack=graded.advantage, floor=estimates.exact(0.0, "difference"), **self.arms),
            metrics={"tpr@0.01": self.rate_at(truth), "on_shadows": on_shadows},
            health=self.health,
            chosen=chosen,
            cost=Cost(seconds=round(self.seconds, 4)),
            settings=settings,
        )


def threat() -> Threat:
    """The defense and its training are known; the image, its label, its release and the target's answer are given."""
    knows = tuple(k.name.lower() for k in Grant if k in grants("L4") and k.name)
    return Threat(level="L4", knows=knows, budget=AttackBudget(releases=1))


def _controls(
    adversary: MembershipAdversary, world: MembershipInputs, bare: MembershipInputs | None, truth: Truth, seed: int
) -> tuple[dict[str, Value | None], set[str]]:
    """Permuted truth, a planted leak, and the target alone."""
    doubts = set()

    def advantage(arm: MembershipArm, inputs: MembershipInputs) -> Value:
        seen = derive_seed("membership controls", seed)
        return assess_membership(adversary, inputs, truth, arm=arm, seed=seen).advantage

    permuted, shown, alone = advantage("shuffled", world), advantage("ceiling", world), None
    low = levels.recompute(permuted, LEVEL / 10).low
    if low is not None and low > 0:
        doubts.add("SHUFFLED_ABOVE_CHANCE")
    if (shown.low or 0.0) <= 0:
        doubts.add("CEILING_MISSED")
    if bare is not None:
        with contextlib.suppress(NotApplicableError):
            alone = advantage("undefended", bare)
    return {"shuffled": permuted, "ceiling": shown, "undefended": alone}, doubts
