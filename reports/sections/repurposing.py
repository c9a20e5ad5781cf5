"""What it takes to repurpose a release, in plain sentences for a reader who reads one line."""

from __future__ import annotations

from adversaries.evidence import Value
from adversaries.health import POWER
from reports.model.attempt_index import AttemptIndex
from reports.model.numbers import percent

HALF = 0.5
"""Share of the way from the floor to the target model from which on the task is not hidden any more."""

_WORDS: dict[int | str, str] = {1: "one labelled release per class", "all": "labels on all its releases"}


def repurposed(index: AttemptIndex) -> list[str]:
    """What attackers reach with labels, then what they reach without any, and what chose among them."""
    found = [*_with_labels(index), *by_chance(index, "Other models without labels", "adaptive.accuracy@0")]
    return [*found, f"{chosen_by(index).capitalize()}."] if found else []


def chosen_by(index: AttemptIndex) -> str:
    """The labels that chose among the attacks, which none of them was granted."""
    part = index.report.dataset.parts.get("pool_validation")
    return f"chosen by {'' if part is None else f'{part.size:,} '}further labelled releases"


def by_chance(index: AttemptIndex, who: str, metric: str) -> list[str]:
    """A share of right guesses beside that of the best guess without the release."""
    value = index.known(metric)
    if value is None or value.value is None:
        return []
    return [f"{who}: {percent(value.value)}{_chance(index)}."]


def _with_labels(index: AttemptIndex) -> list[str]:
    """The fewest labels that bring an attacker half of the way to the target model, else what the most labels do."""
    named = [(labels, index.known(f"adaptive.accuracy@{labels}")) for labels in index.grid]
    known = [(labels, value) for labels, value in named if value is not None and value.value is not None]
    if not known:
        return []
    floor, target = index.floor, index.report.target.accuracy.value
    least = None if floor is None else floor.value
    if least is not None and target is not None and target > least:
        goal = least + HALF * (target - least)
        for place, (labels, value) in enumerate(known):
            if (value.value or 0.0) >= goal:
                says = "Does not hide the task" if place == 0 else "Hides the task only while labels are few"
                return [f"{says}: {_labels(labels)} an attacker to {percent(value.value or 0.0)}."]
    labels, value = known[-1]
    return [_short_of_it(labels, value, least, knows_target=target is not None), *_doubt(value)]


def _short_of_it(labels: int | str, value: Value, floor: float | None, *, knows_target: bool) -> str:
    """What the most labels bring, where that is not half of the way, or nobody knows the way."""
    chance = "" if floor is None else f", {percent(floor)} by chance"
    reached = f"{_labels(labels)} an attacker to {percent(value.value or 0.0)}{chance}."
    if not knows_target:
        return f"{reached[:1].upper()}{reached[1:]}"
    if floor is not None and value.low is not None and value.low <= floor:
        return f"No attack tried here reads the task: {reached}"
    return f"Hides a part of the task: {reached}"


def _doubt(value: Value) -> list[str]:
    """That a failure of weak attacks shows nothing."""
    weak = sorted(set(value.flags) & set(POWER))
    return [f"These attacks are too weak to show that nobody does better ({', '.join(weak)})."] if weak else []


def _labels(labels: int | str) -> str:
    """So many labels, with the verb."""
    if labels in _WORDS:
        return f"{_WORDS[labels]} {'brings' if labels == 1 else 'bring'}"
    return f"{labels} labelled releases per class bring"


def _chance(index: AttemptIndex) -> str:
    floor = index.floor
    return "" if floor is None or floor.value is None else f", {percent(floor.value)} by chance"
