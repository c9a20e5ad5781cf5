"""What competes for which goal: the facts that adversaries register with. Imports no torch.

`@ADVERSARIES.register("fine-tune", goals=("task", "attribute"), variants=({"scope": "head"}, {"scope": "all"}))` makes
two candidates for the task label and two for every attribute. Facts are literals, read without importing the file.
"""

# Structure: calibration does not count it.

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from adversaries.registries import ADVERSARIES
from vfc.cards import Card
from vfc.errors import UserError, unknown

Goal = Literal["task", "attribute", "reconstruction", "match:image", "match:release", "membership", "mask", "evasion"]
GOALS: tuple[Goal, ...] = get_args(Goal)

DEFAULT_ORDER = 900
"""Places an adversary that says no order after the toolkit's own, and before the guessers of the floor."""

FLOOR_ORDER = 1000
"""From here on are guessers of the floor, which come last so that they are chosen only when nobody does better."""


BATCH = 64
"""Rows of one step, in which lengths are counted."""


@dataclass(frozen=True, kw_only=True)
class Length:
    """How many optimizer steps an adversary takes unless its option `steps` says otherwise.

    Who registers a length can be tried with a share of it, so that a race need not train everybody to the end.

    Args:
        least: steps, at least.
        epochs: how often every row is seen, at least.
        when: settings without which the adversary does not train by steps.
    """

    least: int
    epochs: int
    when: Mapping[str, Any] = field(default_factory=dict)

    def applies(self, settings: Mapping[str, Any]) -> bool:
        """Whether an adversary with these settings trains by steps."""
        return all(settings.get(name) == value for name, value in self.when.items())

    def steps(self, settings: Mapping[str, Any], rows: int, share: float) -> int:
        """A share of the whole length.

        Args:
            settings: the adversary's options.
            rows: how many rows it learns from.
            share: of the whole, above 0.
        """
        whole = settings.get("steps") or max(self.least, math.ceil(self.epochs * rows / BATCH))
        return max(1, math.ceil(share * whole))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered adversary, as it competes.

    Args:
        name: as registered.
        goals: what it competes for; none: it is listed, and takes part where a protocol names it.
        variants: settings of its candidates, one candidate each.
        order: fixes the order of candidates, which breaks ties: the smaller comes first. Those that start from
            unintended models go through the models together with the others of the same hundred.
        length: how it trains by steps, which lets it race; None: it is always run whole.
    """

    name: str
    goals: tuple[Goal, ...] = ()
    variants: tuple[Mapping[str, Any], ...] = ({},)
    order: int = DEFAULT_ORDER
    length: Length | None = None

    @classmethod
    def of(cls, card: Card) -> Entry:
        """What a card says.

        Raises:
            UserError: a fact is of another type, or a goal does not exist.
        """
        goals, variants = card.facts.get("goals", ()), card.facts.get("variants", ({},))
        order = card.facts.get("order", DEFAULT_ORDER)
        if not isinstance(goals, tuple):
            raise _expected(card, "goals", "a tuple of texts", goals)
        for goal in goals:
            if goal not in GOALS:
                raise unknown(f"goal of adversary {card.name!r}", str(goal), GOALS)
        if not isinstance(variants, tuple) or not variants or not all(map(_is_settings, variants)):
            raise _expected(card, "variants", "a tuple of dictionaries of settings, at least one", variants)
        if not isinstance(order, int):
            raise _expected(card, "order", "a whole number", order)
        length = card.facts.get("length")
        if length is not None and not _is_length(length):
            raise _expected(card, "length", "a dictionary of least, epochs and perhaps when", length)
        return cls(
            name=card.name,
            goals=cast("tuple[Goal, ...]", goals),
            variants=variants,
            order=order,
            length=None if length is None else Length(**cast("dict[str, Any]", length)),
        )


def entries(goal: Goal) -> tuple[Entry, ...]:
    """Adversaries that compete for a goal, in the order that breaks ties; names decide between equal orders."""
    found = (Entry.of(card) for card in ADVERSARIES.cards.values())
    return tuple(sorted((each for each in found if goal in each.goals), key=lambda each: (each.order, each.name)))


def length_of(adversary: str, settings: Mapping[str, Any]) -> Length | None:
    """How a registered adversary with some settings trains by steps; None if it does not."""
    card = ADVERSARIES.cards.get(adversary)
    length = None if card is None else Entry.of(card).length
    return length if length is not None and length.applies(settings) else None


def _is_length(fact: object) -> bool:
    if not isinstance(fact, dict) or not {"least", "epochs"} <= fact.keys() <= {"least", "epochs", "when"}:
        return False
    return all(isinstance(fact[name], int) for name in ("least", "epochs")) and _is_settings(fact.get("when", {}))


def _is_settings(variant: object) -> bool:
    return isinstance(variant, dict) and all(isinstance(name, str) for name in variant)


def _expected(card: Card, fact: str, what: str, got: object) -> UserError:
    return UserError(
        f"expected {what} as {fact} of adversary {card.name!r} in {card.module}, got {got!r}",
        f"change its @ADVERSARIES.register(..., {fact}=...)",
    )
