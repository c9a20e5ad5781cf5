"""What the adversaries of a report are known to find: their calibration, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from adversaries.health import FOUND_IN, OF
from reports.model.attempt_index import AttemptIndex


@dataclass(frozen=True, kw_only=True)
class Power:
    """What is known of one adversary.

    Args:
        name: of the adversary.
        chosen: whether a headline number came from it.
        status: as the report says it.
        finds: leaks that it finds: in how many runs, and down to which share of images.
        misses: leaks that it finds too seldom: in how many runs.
        alarms: false ones in runs on nulls; empty if unknown.
        measured_on: data set and number of targets; empty if unknown.
    """

    name: str
    chosen: bool
    status: str
    finds: tuple[str, ...] = ()
    misses: tuple[str, ...] = ()
    alarms: str = ""
    measured_on: str = ""

    @property
    def sentence(self) -> str:
        """All of it."""
        if not self.measured_on:
            return f"{self.name}: {self.status}; what it would find is not known."
        known = "; ".join(
            part
            for part in (
                "" if self.status == "calibrated" else self.status,
                f"finds {'; '.join(self.finds)}" if self.finds else "finds no known leak",
                f"misses {', '.join(self.misses)}" if self.misses else "",
                f"false alarms {self.alarms}" if self.alarms else "",
            )
            if part
        )
        return f"{self.name} ({self.measured_on}): {known}."


def powers(index: AttemptIndex) -> list[Power]:
    """Everybody of whom the report says something; the chosen first, by name.

    A report is data that anybody may have written: what is not shaped as a calibration is left out.
    """
    chosen = {attempt.adversary for attempt in index.attempts if attempt.chosen}
    found = [
        Power(
            name=name,
            chosen=name in chosen,
            status=known.status,
            finds=tuple(_finds(known.finds)),
            misses=tuple(_misses(known.finds)),
            alarms=_alarms(known.false_alarms),
            measured_on=_where(known.finds),
        )
        for name, known in index.report.calibration.items()
    ]
    return sorted(found, key=lambda each: (not each.chosen, each.name))


def _leaks(finds: Any) -> Iterator[tuple[str, Mapping[str, tuple[int, int]]]]:
    """Every leak with its counts of alarms and runs, by strength."""
    leaks = finds.get("leaks") if isinstance(finds, Mapping) else None
    for leak, strengths in sorted(leaks.items()) if isinstance(leaks, Mapping) else ():
        if isinstance(strengths, Mapping):
            yield leak, {strength: (c[0], c[1]) for strength, c in strengths.items() if _counts(c) and _share(strength)}


def _found(counts: tuple[int, int]) -> bool:
    alarms, runs = counts
    return runs > 0 and alarms * OF >= FOUND_IN * runs


def _finds(finds: Any) -> Iterator[str]:
    """Leaks that are found alike stand together."""
    alike: dict[str, list[str]] = defaultdict(list)
    for leak, strengths in _leaks(finds):
        if "1" not in strengths or not _found(strengths["1"]):
            continue
        held = takewhile(lambda share: _found(strengths[share]), sorted(strengths, key=float, reverse=True))  # noqa: B023
        least = min(map(float, held))
        alarms, runs = strengths["1"]
        alike[f"in {alarms} of {runs}" + (f", down to {least:.0%} of images" if least < 1 else "")].append(leak)
    yield from (f"{', '.join(leaks)} {how}" for how, leaks in alike.items())


def _misses(finds: Any) -> Iterator[str]:
    for leak, strengths in _leaks(finds):
        alarms, runs = strengths.get("1", (0, 0))
        if runs and not _found((alarms, runs)):
            yield f"{leak} ({alarms} of {runs})" if alarms else leak


def _counts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(type(number) is int for number in value)


def _share(strength: Any) -> bool:
    try:
        return 0 < float(strength) <= 1
    except (TypeError, ValueError):
        return False


def _alarms(counts: Any) -> str:
    if not isinstance(counts, Mapping) or not _counts([counts.get("alarms"), counts.get("runs")]):
        return ""
    return f"{counts['alarms']} in {counts['runs']} runs"


def _where(finds: Any) -> str:
    if not isinstance(finds, Mapping) or not isinstance(finds.get("dataset"), str):
        return ""
    return f"{finds['dataset']}, {finds['n']:,} target images" if type(finds.get("n")) is int else finds["dataset"]
