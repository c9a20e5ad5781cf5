"""Candidates: one adversary with its options each, collected from the registry by goal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from adversaries.calibration.shipped import look_up
from adversaries.entries import FLOOR_ORDER, Entry, Goal, entries
from adversaries.registries import ADVERSARIES
from adversaries.threat import LEVELS


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
        words = [str(value) for value in self.settings.values() if isinstance(value, str)]
        inner = self.settings.get("options")
        if isinstance(inner, Mapping):
            words += [str(value) for value in inner.values() if isinstance(value, str)]
        return " ".join([self.adversary, *words])


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

    Those that start from unintended models compete once for each model: neighbors in the order that are of one level
    go through the models together, model by model. Guessers of the floor are not among them.

    Args:
        goal: what they are after.
        levels: only adversaries of these levels of knowledge.
        models: the unintended models, with the near twin among them if there is one.
        twin: the near twin, from which only those start that see no releases (L0); it is reported apart.
    """
    found: list[Candidate] = []
    for (level, per_model), group in groupby(_competing(goal, levels), key=lambda each: _kind(each.name)):
        several = [model for model in models if model != twin or level == "L0"] if per_model else [None]
        group_entries = list(group)
        for model in several:
            found += _candidates(group_entries, model, headline=model is None or model != twin)
    return tuple(found)


def floor_guessers(goal: Goal) -> tuple[Candidate, ...]:
    """The floor's guessers as candidates, which come last, so that they are chosen only when nobody does better."""
    return tuple(_candidates([each for each in entries(goal) if each.order >= FLOOR_ORDER], None, headline=True))


def _competing(goal: Goal, levels: Collection[str]) -> Iterable[Entry]:
    return (each for each in entries(goal) if each.order < FLOOR_ORDER and _kind(each.name)[0] in levels)


def _kind(adversary: str) -> tuple[str, bool]:
    """An adversary's level, and whether it starts from unintended models."""
    kind = ADVERSARIES.get(adversary)
    return kind.level, kind.per_model


def _candidates(group: Iterable[Entry], model: str | None, *, headline: bool) -> list[Candidate]:
    start = {} if model is None else {"model": model}
    return [
        Candidate(adversary=each.name, settings={**start, **variant}, headline=headline)
        for each in group
        for variant in each.variants
    ]
