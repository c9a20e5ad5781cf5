"""Who attacks in `evasion`, how often and how hard, by budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES
from protocols.engine.budget import BALLS
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.overrides import with_overrides
from protocols.evasion.candidates import spent_on, variants
from vfc.config import configured


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One attack with its options.

    Args:
        candidate: what tells it from others, and the user's options.
        options: how long it runs, by budget.
        rescue: only where the defense gives no gradient.
    """

    candidate: Candidate
    options: Mapping[str, Any] = field(default_factory=dict)
    rescue: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """All options; the user's win."""
        return {**self.options, **self.candidate.settings}

    @property
    def level(self) -> str:
        """The lowest threat level that grants what it needs."""
        return ADVERSARIES.get(self.candidate.adversary).level

    @property
    def norms(self) -> tuple[str, ...]:
        """The balls it works in."""
        return ADVERSARIES.get(self.candidate.adversary).norms

    @property
    def exact(self) -> bool:
        """Whether it follows the pipeline's own gradient."""
        adversary = configured(ADVERSARIES.get(self.candidate.adversary), self.settings, self.candidate.adversary)
        return adversary.followed() != "none" and self.settings.get("gradient", "exact") == "exact"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is spent.

    Args:
        rows: targets attacked, at most.
        draws: draws of a stochastic defense's randomness.
        contenders: who attacks.
        doubling: attack again with twice the steps.
        ceiling_everywhere: the target alone in every ball; otherwise in the largest only.
    """

    rows: int
    draws: int
    contenders: tuple[Contender, ...]
    doubling: bool
    ceiling_everywhere: bool

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """What a run's budget stands for, with the user's options.

        Raises:
            UserError: an option that the protocol itself varies.
        """
        budget = settings.budget
        rows, draws = {"smoke": (100, 4), "standard": (200, 8), "full": (1000, 16)}[budget]
        contenders = []
        for variant in variants():
            options = spent_on(variant, budget)
            if options is None:
                continue
            rescue = budget == "smoke" and variant.settings.get("gradient", "exact") != "exact"
            contenders.append(Contender(candidate=with_overrides(variant, settings), options=options, rescue=rescue))
        return cls(
            rows=rows,
            draws=draws,
            contenders=tuple(contenders),
            doubling=budget != "smoke",
            ceiling_everywhere=budget != "smoke",
        )


def balls() -> list[Ball]:
    """All balls, norm by norm in rising order."""
    return [Ball(norm=norm, budget=each) for norm, radii in BALLS.items() for each in radii]
