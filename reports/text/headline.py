"""What is said first: what was measured on what, the headline numbers, and which attempt each came from."""

from __future__ import annotations

from dataclasses import dataclass

from adversaries.evidence import Value
from reports.model.attempt_index import Attempt, Lineup
from reports.model.report import Report
from reports.text import phrases
from reports.text.sections import ABOUT, home, meaning, stands_for

RATIOS = ("transfer.suppression_ratio", "adaptive.suppression_ratio")
LABELS = (("90 %", "adaptive.labels_to_90"), ("half way", "adaptive.labels_to_half"))
_SOURCES = (
    ("transfer", "transfer.accuracy"),
    ("picture", "transfer.picture.accuracy"),
    ("near twin", "transfer.twin.accuracy"),
)


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
        "targets": f"{size:,}" if size else "unknown",
    }


def numbers(report: Report) -> list[Number]:
    """The headline numbers, in the order in which they are read: of the task, then of every other protocol."""
    toward = phrases.operators(report)

    def figure(name: str, value: Value | None = None) -> str:
        return phrases.figure(report.metrics.get(name, value), toward.get(name, frozenset()))

    clean = figure("target.clean_accuracy", report.target.clean_accuracy)
    named = [("target on the release", "target.accuracy", f"on images {clean}")]
    named += [(f"{name.split('.')[0]} suppression", name, _maximum(report, name)) for name in RATIOS]
    named += [(f"labels to go {title}", name, "labelled releases per class") for title, name in LABELS]
    others = [(about[0].lower(), stands_for(report, protocol)) for protocol, about in ABOUT.items()]
    told = [(title, name, f"{name}: {meaning(name)}") for title, name in others if name is not None]
    if told and not any(row.protocol in ("transfer", "adaptive-probe") for row in report.evidence):
        named = [entry for entry in named if entry[1] in report.metrics or entry[1] == "target.accuracy"]
    found = []
    for title, name, remark in (*named, *told):
        value = report.metrics.get(name, report.target.accuracy if name == "target.accuracy" else None)
        known = value is not None and value.value is not None
        found.append(
            Number(
                title=title,
                metric=name,
                value=value,
                figure=figure(name, value),
                remark=remark if known else _reason(value),
            )
        )
    return found


def sources(lineup: Lineup) -> list[tuple[str, str, Attempt | None]]:
    """Every headline accuracy that was measured: its short title, its metric, and where it came from.

    The strongest of all levels and the one at the largest K are one line where they are one attempt.
    """
    metrics = lineup.report.metrics
    named = [*_SOURCES, *((f"K = {labels}", f"adaptive.accuracy@{labels}") for labels in (0, *lineup.grid))]
    found = [(title, name, lineup.source(name)) for title, name in named if _known(metrics.get(name))]
    if _known(metrics.get("adaptive.accuracy")):
        strongest = lineup.source("adaptive.accuracy")
        if found and strongest is not None and found[-1][2] == strongest:
            found[-1] = (f"{found[-1][0]}, headline", *found[-1][1:])
        else:
            found.append(("headline", "adaptive.accuracy", strongest))
    return found


def chosen(lineup: Lineup) -> list[tuple[str, Attempt | None, Value | None]]:
    """Title, attempt and number behind every headline number, then chosen attempts that no section shows."""
    task = f"task:{lineup.report.dataset.task}"
    found: list[tuple[str, Attempt | None, Value | None]] = [
        (title, attempt, lineup.report.metrics[name]) for title, name, attempt in sources(lineup)
    ]
    others = [attempt for attempt in lineup.attempts if attempt.chosen and attempt.goal != task]
    return found + [(phrases.aim(one), one, one.arm("attack")) for one in others if not set(one.protocols) & set(ABOUT)]


def others(lineup: Lineup) -> list[tuple[str, Value]]:
    """Numbers that were measured and stand nowhere else, by name."""
    task, elsewhere = lineup.report.dataset.task, shown(lineup)
    return sorted(
        (name, value)
        for name, value in lineup.report.metrics.items()
        if name not in elsewhere and value.value is not None and home(name, task) is None
    )


def shown(lineup: Lineup) -> set[str]:
    """Metrics that the headline, the curve and the table of sources show already."""
    names = {name for _, name, _ in sources(lineup)} | {*RATIOS, *(name for _, name in LABELS)}
    names |= {"adaptive.accuracy", "target.accuracy", "target.clean_accuracy"}
    return names | {name for name in lineup.report.metrics if name.startswith("adaptive.suppression_ratio@")}


def _maximum(report: Report, name: str) -> str:
    most = phrases.maximum(report, name)
    return "at most target / floor" if most is None else f"at most {most:.3f} (target / floor)"


def _reason(value: Value | None) -> str:
    return "its protocol was not run" if value is None else value.reason or "no reason was given"


def _known(value: Value | None) -> bool:
    return value is not None and value.value is not None
