"""What stands first: what was measured on what, the headline numbers, and which attempt each came from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from adversaries.evidence import Value
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import meaning, sections
from reports.model.numbers import figure, number, percent
from reports.model.pictures import CostCurve
from reports.model.report import Report
from reports.model.section import HeadlineNumber, Section, Source
from reports.text import phrases
from reports.text.sections import home


@dataclass(frozen=True, kw_only=True)
class Number:
    """One headline number.

    Args:
        title: what it is, in words.
        metric: its name in the catalog.
        value: what was measured; None if its protocol was not run.
        figure: the number with its interval, rounded toward failure where a gate judges it.
        remark: what to read beside it, or why it is unknown.
    """

    title: str
    metric: str
    value: Value | None
    figure: str
    remark: str


def facts(report: Report) -> dict[str, str]:
    """What was measured on what, by short name."""
    classes = report.dataset.classes.get(report.dataset.task)
    targets = report.dataset.parts.get("targets")
    size = targets.size if targets is not None else report.target.accuracy.n
    return {
        "budget": str(report.command.settings.with_defaults.get("budget") or "not recorded"),
        "data": report.dataset.name,
        "task": report.dataset.task + (f" ({classes} classes)" if classes else ""),
        "release": report.release.name,
        "target images": f"{size:,}" if size else "unknown",
    }


def plain_verdict(index: AttemptIndex) -> str:
    """What the numbers mean in plain sentences: what use is left, then what attackers reach."""
    said = [sentence for section in sections() if section.verdict for sentence in section.verdict(index)]
    return " ".join([_utility(index.report), *said])


def _utility(report: Report) -> str:
    """What the target model keeps: the whole percents of the number that the tables show."""
    kept, on_release = report.metrics.get("target.retention"), report.target.accuracy.value
    if kept is not None and kept.value is not None:
        shown = float(number(kept.value, kept.unit, phrases.operators(report).get("target.retention", frozenset())))
        share = "all" if kept.value >= 1 else f"{min(99, math.floor(100 * shown + 1e-9))} %"
        return f"Keeps {share} of the target model's accuracy."
    if on_release is not None:
        return f"The target model names {percent(on_release)} of the releases right."
    return "Without a target model nobody knows what use it keeps."


def summary(index: AttemptIndex) -> str:
    """One sentence on what the numbers mean."""
    clauses = [clause for section in sections() if section.sentences for clause in section.sentences(index)]
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def notes() -> list[str]:
    """How the numbers are to be read."""
    return [section.note for section in sections() if section.note]


def legend() -> str:
    """What the titles of the sources mean; empty, or with a space behind it."""
    return "".join(f"{section.legend} " for section in sections() if section.legend)


def numbers(index: AttemptIndex) -> list[Number]:
    """The headline numbers, in the order in which they are read: of the task, then of every other protocol."""
    report = index.report
    toward = phrases.operators(report)
    known = {"target.accuracy": report.target.accuracy, "target.clean_accuracy": report.target.clean_accuracy}
    known |= report.metrics

    def shown(name: str) -> str:
        return figure(known.get(name), toward.get(name, frozenset()))

    on_task = [number for section in sections() if section.on_task for number in _of_section(index, section)]
    others = [number for section in sections() if not section.on_task for number in _of_section(index, section)]
    # A protocol that nobody asked for has no number here.
    on_task = [number for number in on_task if number.metric in report.metrics]
    title, remark = "target model", f"on images {shown('target.clean_accuracy')}"
    target = HeadlineNumber(title=title, metric="target.accuracy", remark=remark)
    return [
        Number(
            title=each.title,
            metric=each.metric,
            value=known.get(each.metric),
            figure=shown(each.metric),
            remark=each.remark if _measured(known.get(each.metric)) else _reason(known.get(each.metric)),
        )
        for each in (target, *on_task, *others)
    ]


def _of_section(index: AttemptIndex, section: Section) -> list[HeadlineNumber]:
    """The headline numbers of a section: its own choice, else the one that stands for its protocol."""
    if section.numbers is not None:
        return list(section.numbers(index))
    name = section.worst(index.report)
    if name is None:
        return []
    return [HeadlineNumber(title=section.title.lower(), metric=name, remark=f"{name}: {meaning(name)}")]


def sources(index: AttemptIndex) -> list[Source]:
    """Every headline accuracy that was measured, and where it came from."""
    return [source for section in sections() if section.sources for source in section.sources(index)]


def chosen(index: AttemptIndex) -> list[tuple[str, Attempt | None, Value | None]]:
    """Title, attempt and number behind every headline number, then chosen attempts that no section shows."""
    task = f"task:{index.report.dataset.task}"
    found: list[tuple[str, Attempt | None, Value | None]] = [
        (source.title, source.attempt, index.report.metrics[source.metric]) for source in sources(index)
    ]
    own = {section.protocol for section in sections() if not section.on_task}
    others = [attempt for attempt in index.attempts if attempt.chosen and attempt.goal != task]
    return found + [(phrases.aim(one), one, one.arm("attack")) for one in others if not set(one.protocols) & own]


def others(index: AttemptIndex) -> list[tuple[str, Value]]:
    """Numbers that were measured and stand nowhere else, by name."""
    task, elsewhere = index.report.dataset.task, shown(index)
    return sorted(
        (name, value)
        for name, value in index.report.metrics.items()
        if name not in elsewhere and value.value is not None and home(name, task) is None
    )


def shown(index: AttemptIndex) -> set[str]:
    """Metrics that the headline, the curves and the table of sources show already."""
    names = {"target.accuracy", "target.clean_accuracy", *(source.metric for source in sources(index))}
    for section in sections():
        if section.on_task:
            names |= {number.metric for number in _of_section(index, section)}
            pictures = section.pictures(index, {}) if section.pictures is not None else ()
            names |= {name for picture in pictures if isinstance(picture, CostCurve) for name in picture.metrics}
    return names


def _reason(value: Value | None) -> str:
    return "its protocol was not run" if value is None else value.reason or "no reason was given"


def _measured(value: Value | None) -> bool:
    return value is not None and value.value is not None
