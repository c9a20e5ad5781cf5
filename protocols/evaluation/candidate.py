"""Candidates: one adversary with its options each, collected from the registry by goal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from adversaries.attacker import Attacker
from adversaries.calibration.shipped import look_up
from adversaries.entries import FLOOR_ORDER, Entry, Goal, entries
from adversaries.evidence import adversary_name
from adversaries.registries import ADVERSARIES
from adversaries.threat import LEVELS
from vfc.config import configured


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One adversary with its options, as it competes with the others.

    Args:
        adversary: registered name.
        settings: its options; `model` names the unintended model that it starts from.
        headline: False for the near twin, which is reported apart and enters no headline number.
    """

    adversary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    headline: bool = True

    @property
    def name(self) -> str:
        """A name that no other candidate has, fit for people."""
        return adversary_name(self.adversary, self.settings)

    @property
    def trains(self) -> bool:
        """Whether twice its training means anything."""
        return configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary).doubled() is not None


def calibrated(candidates: Sequence[Candidate], *, n: int, dataset: str) -> frozenset[int]:
    """Positions of those whose power is known from shipped calibration results.

    Args:
        candidates: with all their options.
        n: how many targets they are graded on.
        dataset: name of the data set.
    """
    return frozenset(
        position
        for position, each in enumerate(candidates)
        if look_up(each.adversary, each.settings, n=n, dataset=dataset).status == "calibrated"
    )


def collect(
    goal: Goal, *, levels: Collection[str] = LEVELS, models: Sequence[str] = (), twin: str | None = None
) -> tuple[Candidate, ...]:
    """Candidates of every registered adversary that competes for a goal, in the order that breaks ties.

    Those that start from unintended models compete once for each model; those of them in the same hundred of the order
    go through the models together, model by model. Guessers of the floor are not among them.

    Args:
        goal: what they are after.
        levels: only adversaries of these levels of knowledge.
        models: the unintended models, with the near twin among them if there is one.
        twin: the near twin, from which only those start that see no releases (L0); it is reported apart.
    """
    competing = [each for each in entries(goal) if each.order < FLOOR_ORDER and _kind(each).level in levels]
    found: list[Candidate] = []
    for (_, per_model), group in groupby(competing, key=lambda each: (each.order // 100, _kind(each).per_model)):
        together = list(group)
        if not per_model:
            found += _variants(together)
            continue
        for model in models:
            if model == twin:
                found += _variants((each for each in together if _kind(each).level == "L0"), model, headline=False)
            else:
                found += _variants(together, model)
    return tuple(found)


def floor_guessers(goal: Goal) -> tuple[Candidate, ...]:
    """The floor's guessers as candidates, which come last, so that they are chosen only when nobody does better."""
    return tuple(_variants(each for each in entries(goal) if each.order >= FLOOR_ORDER))


def guessing_the_floor(goal: Goal) -> frozenset[str]:
    """Names of the floor's guessers."""
    return frozenset(each.name for each in entries(goal) if each.order >= FLOOR_ORDER)


def _kind(entry: Entry) -> type[Attacker]:
    return ADVERSARIES.get(entry.name)


def _variants(group: Iterable[Entry], model: str | None = None, *, headline: bool = True) -> Iterator[Candidate]:
    start = {} if model is None else {"model": model}
    for each in group:
        for variant in each.variants:
            yield Candidate(adversary=each.name, settings={**start, **variant}, headline=headline)
