"""Sentences beside the prediction table: what is missing, and what a reader must know. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from adversaries.evidence import Value
from adversaries.health import forbids_holding
from reports.model.catalog import lookup
from reports.model.report import Report
from reports.studies.prediction.data import Point, diagnostics, predicted, ranked


def missing_numbers(points: Sequence[Point], columns: Sequence[str]) -> Iterable[str]:
    """What is missing where, and why; one sentence for all names that the same releases lack for the same reason."""
    gaps: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in (*diagnostics(), *columns):
        why: dict[str, list[str]] = {}
        for point in points:
            if name in point.reasons:
                why.setdefault(point.reasons[name], []).append(point.name)
        for reason, who in why.items():
            gaps.setdefault((reason, tuple(who)), []).append(name)
    for (reason, at), names in gaps.items():
        yield f"{', '.join(names)}: missing for {len(at)} of {len(points)} releases ({', '.join(at)}): {reason}."


def reading_notes(groups: Sequence[Sequence[Report]], points: Sequence[Point], columns: Sequence[str]) -> Iterable[str]:
    """What a reader must know beside the numbers.

    Args:
        groups: the reports of every release.
        points: the releases.
        columns: names of the columns.
    """
    yield (
        "Releases of one defense in several settings are no independent points, so the intervals are too narrow rather "
        "than too wide. A bound on the error of reconstructions says nothing about labels, attributes or members."
    )
    repeated = sum(len(group) - 1 for group in groups)
    if repeated:
        yield f"Reports of a release that another report is of too: {repeated}; each release counts once."
    for bound in diagnostics():
        void = [point.name for point, group in zip(points, groups, strict=True) if refuted(bound, group)]
        if void:
            yield (
                f"{bound} is refuted by a measured attack at {len(void)} of {len(points)} releases "
                f"({', '.join(void)}); what it promised there is part of the table all the same."
            )
    patterns = {name: lookup(name.replace("<a>", "a")) for name in predicted()}
    silent = [name for name, metric in patterns.items() if all(metric.match(one) is None for one in columns)]
    if silent:
        yield f"No report speaks of {', '.join(silent)}."
    for name in (*diagnostics(), *columns):
        values = [ranked(point.values[name]) for point in points if name in point.values]
        value, count = Counter(values).most_common(1)[0] if values else (0.0, 0)
        if 2 * count > len(values) > 1:
            yield f"{name} is {value:.4g} at {count} of {len(values)} releases, so its ranks are mostly ties."
    yield from _efforts(groups, columns)


def refuted(bound: str, group: Iterable[Report]) -> list[Value]:
    """The values of a bound of a release that attacks refuted, as they were."""
    name = lookup(bound).refuted
    return [row.metrics[name] for report in group for row in report.evidence if name in row.metrics]


def _efforts(groups: Sequence[Sequence[Report]], columns: Sequence[str]) -> Iterable[str]:
    """Where the attacks of a column are not alike, and where they may have been too weak."""
    mixed: dict[str, list[str]] = {}
    for name in columns:
        used = [report for group in groups if (report := _first_with(group, name)) is not None]
        how = sorted({_effort(report) for report in used})
        if len(how) > 1:
            mixed.setdefault("; ".join(how), []).append(name)
        weak = Counter(flag for report in used for flag in forbids_holding(report.metrics[name].flags))
        if weak:
            flags = ", ".join(f"{flag} ({count})" for flag, count in sorted(weak.items()))
            yield f"{name} carries flags that forbid 'holds' at some of its {len(used)} releases: {flags}."
    for efforts, names in mixed.items():
        yield f"Measured with different efforts: {', '.join(names)}: {efforts}."


def _first_with(group: Sequence[Report], name: str) -> Report | None:
    nothing = Value.unknown("")
    return next((report for report in group if report.metrics.get(name, nothing).value is not None), None)


def _effort(report: Report) -> str:
    """Budget, level and models of a run, as far as the report tells."""
    settings = report.command.settings.with_defaults
    models = settings.get("unintended") or ()
    parts = [f"budget {settings.get('budget') or 'not recorded'}"]
    parts += [f"threat {settings['threat']}"] if settings.get("threat") else []
    parts += [f"models {', '.join(map(str, models))}"] if isinstance(models, (list, tuple)) and models else []
    return ", ".join(parts)
