"""The attacks of `evasion`: which, how often and how hard, by budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES
from protocols.engine.budget import BALLS
from protocols.engine.settings import Settings
from protocols.evaluation.candidate import Candidate, collect
from protocols.evaluation.overrides import with_overrides
from vfc.config import configured

Options = Mapping[str, Any]


def variants() -> tuple[Candidate, ...]:
    """Every attack with what tells it from others of its name."""
    return collect("evasion")


def spent_on(candidate: Candidate, budget: str) -> Options | None:
    """How long an attack runs; None if the budget leaves it out. One that the table lacks runs as it is."""
    return _SPENT.get(candidate.name, {}).get(budget, {})


_SPENT: Mapping[str, Mapping[str, Options | None]] = {
    "pgd": {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100, "restarts": 5}},
    "pgd straight-through": {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}},
    "pgd target": {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}},
    "pgd foolbox": {"smoke": None, "standard": None, "full": {"steps": 100}},
    "apgd ce": {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}},
    "apgd dlr": {"smoke": None, "standard": {"steps": 20}, "full": {"steps": 100}},
    "apgd targeted": {"smoke": None, "standard": None, "full": {"steps": 50}},
    "carlini-wagner": {"smoke": {"steps": 30, "searches": 2}, "standard": {"steps": 60, "searches": 3},
                       "full": {"steps": 500, "searches": 6}},
    "deepfool": {"smoke": {"steps": 8}, "standard": {"steps": 15}, "full": {"steps": 50}},
    "square": {"smoke": {"queries": 50}, "standard": {"queries": 200}, "full": {"queries": 5000}},
    "boundary": {"smoke": {"steps": 100}, "standard": {"steps": 300}, "full": {"steps": 5000}},
    "hop-skip-jump": {"smoke": None, "standard": {"steps": 3, "evaluations": 30},
                      "full": {"steps": 20, "evaluations": 100}},
}  # fmt: skip
"""Options by budget of every attack, by the candidate's name."""


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
