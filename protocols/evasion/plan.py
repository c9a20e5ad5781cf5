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
        for name, varied, budgets in _TABLE:
            options = budgets[budget]
            if options is None:
                continue
            candidate = with_overrides(Candidate(adversary=name, settings=varied), settings)
            rescue = budget == "smoke" and varied.get("gradient", "exact") != "exact"
            contenders.append(Contender(candidate=candidate, options=options, rescue=rescue))
        return cls(
            rows=rows,
            draws=draws,
            contenders=tuple(contenders),
            doubling=budget != "smoke",
            ceiling_everywhere=budget != "smoke",
        )


def variants() -> tuple[Candidate, ...]:
    """Every attack with what tells it from others of its name."""
    return tuple(Candidate(adversary=name, settings=varied) for name, varied, _ in _TABLE)


def balls() -> list[Ball]:
    """All balls, norm by norm in rising order."""
    return [Ball(norm=norm, budget=each) for norm, radii in BALLS.items() for each in radii]


_Options = Mapping[str, Any] | None

_TABLE: tuple[tuple[str, Mapping[str, Any], Mapping[str, _Options]], ...] = (
    ("pgd", {}, {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100, "restarts": 5}}),
    (
        "pgd",
        {"gradient": "straight-through"},
        {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}},
    ),
    ("pgd", {"gradient": "target"}, {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}}),
    ("pgd", {"library": "foolbox"}, {"smoke": None, "standard": None, "full": {"steps": 100}}),
    ("apgd", {"objective": "ce"}, {"smoke": {"steps": 10}, "standard": {"steps": 20}, "full": {"steps": 100}}),
    ("apgd", {"objective": "dlr"}, {"smoke": None, "standard": {"steps": 20}, "full": {"steps": 100}}),
    ("apgd", {"objective": "targeted"}, {"smoke": None, "standard": None, "full": {"steps": 50}}),
    ("carlini-wagner", {}, {"smoke": {"steps": 30, "searches": 2}, "standard": {"steps": 60, "searches": 3},
                            "full": {"steps": 500, "searches": 6}}),
    ("deepfool", {}, {"smoke": {"steps": 8}, "standard": {"steps": 15}, "full": {"steps": 50}}),
    ("square", {}, {"smoke": {"queries": 50}, "standard": {"queries": 200}, "full": {"queries": 5000}}),
    ("boundary", {}, {"smoke": {"steps": 100}, "standard": {"steps": 300}, "full": {"steps": 5000}}),
    ("hop-skip-jump", {}, {"smoke": None, "standard": {"steps": 3, "evaluations": 30},
                           "full": {"steps": 20, "evaluations": 100}}),
)  # fmt: skip
"""Attack, what tells it from others of its name, and how long it runs."""
