"""What each section holds of a report, and the worst case of every protocol. Every format lays out the same."""

from __future__ import annotations

from dataclasses import dataclass

from adversaries.evidence import Arm, Value
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import section_of, sections
from reports.model.pictures import Picture
from reports.model.section import Arrays, Section

WORST_ARMS: tuple[Arm, ...] = ("attack", "floor", "ceiling")
"""Arms that stand beside the worst case of a protocol; their unit may be another than the number's."""


@dataclass(frozen=True, kw_only=True)
class SectionContent:
    """What one protocol found.

    Args:
        section: its title and more.
        numbers: its metrics by name; empty where the headline and the table of sources tell them.
        chosen: the attempts that they came from; empty likewise.
        pictures: what there is to draw.
    """

    section: Section
    numbers: tuple[tuple[str, Value], ...]
    chosen: tuple[Attempt, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst case of one protocol.

    Args:
        protocol: its name.
        metric: the number that stands for it; empty if it has none.
        value: that number; None if there is none.
        attempt: who reached it; None if the report does not tell.
        flags: doubts about the number or about who reached it.
        reason: why there is no number.
        attacked: False where the numbers of the protocol are properties of the release.
    """

    protocol: str
    metric: str
    value: Value | None
    attempt: Attempt | None
    flags: tuple[str, ...]
    reason: str
    attacked: bool = True

    @property
    def nobody(self) -> str:
        """What stands in the place of an attempt that is not there."""
        return "the report does not tell" if self.attacked else "nothing attacks here"


def contents(index: AttemptIndex, rows: Arrays) -> list[SectionContent]:
    """The sections that have something to show; those that attack the task always have.

    Args:
        index: the attempts.
        rows: the sidecar's arrays.
    """
    found = []
    for section in sections():
        numbers = () if section.on_task else tuple(_numbers(index, section))
        chosen = () if section.on_task else section.chosen(index)
        pictures = tuple(section.pictures(index, rows)) if section.pictures is not None else ()
        if numbers or chosen or pictures:
            found.append(SectionContent(section=section, numbers=numbers, chosen=chosen, pictures=pictures))
    return found


def home(name: str, task: str) -> Section | None:
    """The section in whose table a metric stands; None if it stands elsewhere."""
    section = section_of(name, task)
    return None if section is None or section.on_task else section


def _numbers(index: AttemptIndex, section: Section) -> list[tuple[str, Value]]:
    task = index.report.dataset.task
    return [(name, value) for name, value in sorted(index.report.metrics.items()) if home(name, task) is section]


def worst_cases(index: AttemptIndex) -> list[Worst]:
    """One row per protocol that was asked for; empty unless there are several."""
    ran = {row.protocol for row in index.report.evidence}
    asked = [section for section in sections() if section.protocol in ran]
    return [_worst(index, section) for section in asked] if len(asked) > 1 else []


def _worst(index: AttemptIndex, section: Section) -> Worst:
    name = section.worst(index.report)
    if name is None:
        reason = _absence(index, section)
        return Worst(protocol=section.protocol, metric="", value=None, attempt=None, flags=(), reason=reason)
    value, attempt = index.report.metrics[name], section.source(index, name)
    flags = {*value.flags, *(attempt.flags if attempt is not None else ())}
    return Worst(
        protocol=section.protocol,
        metric=name,
        value=value,
        attempt=attempt,
        flags=tuple(sorted(flags)),
        reason="",
        attacked=section.attacked,
    )


def _absence(index: AttemptIndex, section: Section) -> str:
    """Why a protocol has no number."""
    found = index.report.metrics.items()
    reasons = [
        value.reason for name, value in found if any(one.match(name) is not None for one in section.headline_metrics)
    ]
    reasons += [row.reason for row in index.report.evidence if row.protocol == section.protocol]
    return next((reason for reason in reasons if reason), "it made no number")
