"""The attacks of `evasion`, and how long each runs by budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocols.evaluation.candidate import Candidate, collect

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
