"""Leaks of kinds that common readers miss, planted in a copy of the release: who found them, and who could not look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adversaries.health import FOUND, HONESTY, MISSED, NO_ROOM, PLANTS, UNREAD, overlooked
from reports.model.attempt_index import Attempt
from reports.model.harmless import short


@dataclass(frozen=True, kw_only=True)
class HardPlant:
    """What became of the leak of one kind in one goal.

    Args:
        sentence: for people.
        overlooked: whether nobody found it although there was room, or nobody could look.
    """

    sentence: str
    overlooked: bool


def hard_plants(attempts: Sequence[Attempt]) -> list[HardPlant]:
    """Whether anybody found the leak of a kind that common readers miss, by goal and kind.

    Args:
        attempts: those that were measured on the release; what those who are not honest find does not count.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    lost: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for attempt in (each for each in attempts if not set(each.flags) & set(HONESTY)):
        for kind, words in PLANTS.items():
            values = [row.metrics.get(f"planted.{kind}") for row in attempt.rows]
            known = [value for value in values if value is not None]
            said = {UNREAD if value.value is None else value.reason for value in known}
            best = next((word for word in (FOUND, MISSED, NO_ROOM, UNREAD) if word in said), None)
            if best is not None:
                found[attempt.goal, words][best].append(attempt.name)
            reasons = [value.reason or "" for value in known if value.value is None]
            lost[attempt.goal, words] |= {f"{attempt.name} ({short(reason, 100)})": None for reason in reasons}
    return [_plant(goal, words, said, list(lost[goal, words])) for (goal, words), said in found.items()]


def _plant(goal: str, words: str, said: Mapping[str, Sequence[str]], lost: Sequence[str]) -> HardPlant:
    tried = sum(len(names) for word, names in said.items() if word != UNREAD)
    if FOUND in said:
        end = f"found by {short(', '.join(dict.fromkeys(said[FOUND])), 100)}"
    elif MISSED in said:
        end = f"found by none of {tried} that were tried; nobody here may see a leak of this kind"
    elif NO_ROOM in said:
        end = "no room to tell, since the release itself is read"
    else:
        end = "nobody could look for it"
    if lost:
        end += f"; without a number: {', '.join(lost)}"
    sentence = f"A leak of {short(goal, 60)} planted in a copy of the release, as {words}: {end}."
    return HardPlant(sentence=sentence, overlooked=overlooked(said))
