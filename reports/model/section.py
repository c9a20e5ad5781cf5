"""A section of the report: everything that reports know of one protocol. Imports no torch.

Sections are found by name in `reports.sections`, one file each, and with entry points of the group `vfc.sections`, so
that a protocol of a third party brings its own:

    [project.entry-points."vfc.protocols"]
    theirs = "their_package.protocol:theirs"

    [project.entry-points."vfc.sections"]
    theirs = "their_package.section:theirs"

where `theirs` of the second is a function without arguments that returns a `Section`. Its metrics are then listed by
`vfc list metrics`, can be gated, and stand in every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adversaries.evidence import Value
from reports.model.attempt_index import Attempt, AttemptIndex, best
from reports.model.metric import Metric
from reports.model.pictures import Picture
from reports.model.report import Report
from vfc.registry import Registry

Arrays = Mapping[str, Any]
"""The sidecar's numpy arrays by key."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A number, and the attempt that it came from.

    Args:
        title: the number in a few words.
        metric: its name.
        attempt: the one that reached it; None if the report does not tell.
    """

    title: str
    metric: str
    attempt: Attempt | None


@dataclass(frozen=True, kw_only=True)
class HeadlineNumber:
    """A number that stands under the verdict.

    Args:
        title: what it is, in words.
        metric: its name.
        remark: what to read beside it.
    """

    title: str
    metric: str
    remark: str


def reached_exactly(chosen: Sequence[Attempt], value: Value | None) -> Attempt | None:
    """The attempt behind a number: the best of the chosen ones that show it, else the only one there is."""
    exact = [attempt for attempt in chosen if value is not None and attempt.shows(value)]
    if exact:
        return best(exact) or exact[0]
    return chosen[0] if len(chosen) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Section:
    """What reports know of one protocol. Everything but its name and title may be left out.

    Args:
        protocol: its name.
        title: of the section.
        about: one sentence under the title.
        order: sections are read in ascending order; of equals by name.
        metrics: the numbers that it produces; any other section may not claim the same names.
        headlines: names in `metrics` of the number that stands for the protocol; the first that was measured counts.
        includes: protocols whose numbers it produces too.
        attacked: False where its numbers are properties of the release and no attack is made.
        on_task: whether it attacks the task label: its numbers stand in the headline and in the table of sources.
        note: how to read its numbers; stands under the verdict of every report.
        legend: explains the titles of its sources, in a sentence.
        example: a gate on one of its metrics, for hints.
        identifiers: labels of the entries of OWASP AISVS and MITRE ATLAS that fit its metrics.
        pictures: what there is to draw, from the attempts and the sidecar's arrays.
        numbers: what stands under the verdict; None: the number that stands for the protocol, if it was measured.
        sources: where its numbers come from, for the table of sources.
        sentences: what the headline says, each a clause without capital and full stop.
        verdict: what its numbers mean for a reader who reads one line, in whole sentences with shares in percent.
        reached: the attempt that reached a number of its metrics; None: the chosen one that shows it.
    """

    protocol: str
    title: str
    about: str = ""
    order: int = 1000
    metrics: tuple[Metric, ...] = ()
    headlines: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    attacked: bool = True
    on_task: bool = False
    note: str = ""
    legend: str = ""
    example: str = ""
    identifiers: tuple[str, ...] = ("OWASP AISVS 8.4.1",)
    pictures: Callable[[AttemptIndex, Arrays], Sequence[Picture]] | None = None
    numbers: Callable[[AttemptIndex], Sequence[HeadlineNumber]] | None = None
    sources: Callable[[AttemptIndex], Sequence[Source]] | None = None
    sentences: Callable[[AttemptIndex], Sequence[str]] | None = None
    verdict: Callable[[AttemptIndex], Sequence[str]] | None = None
    reached: Callable[[AttemptIndex, str], Attempt | None] | None = None

    def worst(self, report: Report) -> str | None:
        """The number that stands for the protocol: of several the worst for the defender; None if none is known."""
        for metric in self.headline_metrics:
            known = {name: one.value for name, one in sorted(report.metrics.items()) if metric.match(name) is not None}
            sign = -1 if metric.better == "up" else 1
            found = [(sign * value, name) for name, value in known.items() if value is not None]
            if found:
                return max(found, key=lambda pair: pair[0])[1]
        return None

    @property
    def headline_metrics(self) -> tuple[Metric, ...]:
        """The metrics that may stand for the protocol, in the order of preference."""
        by_name = {metric.name: metric for metric in self.metrics}
        return tuple(by_name[name] for name in self.headlines)

    def chosen(self, index: AttemptIndex) -> tuple[Attempt, ...]:
        """The attempts of the protocol that its numbers came from."""
        return tuple(attempt for attempt in index.attempts if attempt.chosen and self.protocol in attempt.protocols)

    def source(self, index: AttemptIndex, name: str) -> Attempt | None:
        """The attempt that reached a number of the section; None if the report does not tell."""
        if self.reached is not None:
            return self.reached(index, name)
        return reached_exactly(self.chosen(index), index.report.metrics.get(name))


SECTIONS: Registry[Callable[[], Section]] = Registry("section", "reports.sections", "SECTIONS", "vfc.sections")
