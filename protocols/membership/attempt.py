"""One membership adversary with all its arms: the defense, permuted truth, a planted leak, and the target alone.

Axes: n members and n non-members.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Threat, Value
from adversaries.goals.membership import (
    ADVERSARIES,
    Calibrated,
    MembershipAdversary,
    Numbers,
    Readings,
    Shadows,
    Truth,
    calibrate,
    hits_at,
    planted,
    real,
    scored,
    shuffled,
)
from adversaries.health import LEVEL
from adversaries.statistics import estimates, levels
from adversaries.threat import Grant, grants
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.statistic import FEW
from vfc.config import configured
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

NAME, GOAL = "membership", "membership"

FALSE_RATE = 0.01
"""False positive rate at which `membership.tpr@0.01` is read; it needs ten non-members per such share."""

PLANTED = 0.5
"""Share of the members that the power control marks."""


@dataclass(frozen=True, kw_only=True)
class MembershipInputs:
    """All readings of one world: of the defense, or of the target alone.

    Args:
        shadows: the attacker's own.
        real: of the defense in question, on members and non-members.
    """

    shadows: Shadows
    real: Readings

    def shuffled(self, generator: np.random.Generator) -> MembershipInputs:
        """Who is a member among the shadows' images, permuted."""
        return replace(self, shadows=shuffled(self.shadows, generator))

    def planted(self, truth: Truth, generator: np.random.Generator) -> MembershipInputs:
        """A copy in which half of the members show, under every defense."""
        shadows = self.shadows
        universe = [
            planted(each, member, PLANTED, generator)
            for each, member in zip(shadows.universe, shadows.member, strict=True)
        ]
        candidates = [
            planted(each, inside, PLANTED, generator)
            for each, inside in zip(shadows.candidates, shadows.inside, strict=True)
        ]
        return MembershipInputs(
            shadows=replace(shadows, universe=universe, candidates=candidates),
            real=planted(self.real, truth, PLANTED, generator),
        )


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One attack, graded once.

    Args:
        scores: of every row.
        calibrated: the threshold, fixed on the shadows.
        advantage: true minus false positive rate.
        finite: whether all scores were numbers.
    """

    scores: Numbers
    calibrated: Calibrated
    advantage: Value
    finite: bool


def grade(
    adversary: MembershipAdversary, world: MembershipInputs, truth: Truth, alpha: float = estimates.ALPHA
) -> Graded:
    """Fix a threshold on the shadows, score the images in question, and count.

    Args:
        adversary: who attacks; never shown `truth`.
        world: what it sees.
        truth: who is a member.
        alpha: level of the bounds.

    Raises:
        NotApplicableError: the defense does not offer what it reads.
    """
    calibrated = calibrate(adversary, world.shadows)
    scores = scored(adversary, real(world.shadows, world.real))
    finite = bool(np.isfinite(scores).all())
    scores = np.nan_to_num(scores)
    called = scores >= calibrated.threshold
    advantage = estimates.advantage(
        int(called[truth].sum()), int(truth.sum()), int(called[~truth].sum()), int((~truth).sum()), alpha
    )
    return Graded(scores=scores, calibrated=calibrated, advantage=advantage, finite=finite)


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
    graded: Graded | None
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
            graded = grade(adversary, world, truth)
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

    def beats(self, chosen: Graded, rivals: int) -> bool:
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
    generator = np.random.Generator(np.random.PCG64(derive_seed("membership controls", seed)))
    permuted = grade(adversary, world.shuffled(generator), generator.permutation(truth)).advantage
    low = levels.recompute(permuted, LEVEL / 10).low
    if low is not None and low > 0:
        doubts.add("SHUFFLED_ABOVE_CHANCE")
    shown = grade(adversary, world.planted(truth, generator), truth).advantage
    if (shown.low or 0.0) <= 0:
        doubts.add("CEILING_MISSED")
    alone = None
    if bare is not None:
        try:
            alone = grade(adversary, bare, truth).advantage
        except NotApplicableError:
            alone = None
    return {"shuffled": permuted, "ceiling": shown, "undefended": alone}, doubts
