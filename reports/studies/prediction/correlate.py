"""Do the attack-free numbers predict the attacks? Rank correlations over many releases of the same images.

A pure function of reports; `reports.studies.prediction.formats` draws it. Imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adversaries.statistics.rank_correlation import FEWEST, Correlation, spearman
from reports.model.catalog import lookup
from reports.model.report import Report
from reports.studies.prediction.data import (
    ALL,
    CONTROLS,
    LEVEL,
    WITHOUT,
    Block,
    Cell,
    Point,
    Prediction,
    diagnostics,
    expected,
    predicted,
    ranked,
)
from reports.studies.prediction.notes import missing_numbers, reading_notes, refuted
from vfc.errors import UserError


def predict(reports: Sequence[Report]) -> Prediction:
    """Correlate every diagnostic with every measured attack.

    Args:
        reports: of one dataset, task and split. Reports of one release (equal published values) are one point: each
            number comes from the first of them that has it.

    Returns:
        The table; an unknown correlation has its reason.

    Raises:
        UserError: too few releases, different data, or no diagnostic or no attack at all.
    """
    _check(reports)
    groups: dict[str, list[Report]] = {}
    for report in reports:
        groups.setdefault(report.release.digest, []).append(report)
    if len(groups) < FEWEST:
        raise UserError(
            f"expected reports of at least {FEWEST} different releases, got {len(groups)}", "add reports of others"
        )
    rows, columns = diagnostics(), _columns(reports)
    found = [_merged(group, (*rows, *columns)) for group in groups.values()]
    points = _named([group[0] for group in groups.values()], found)
    for kind, names, patterns in (("diagnostics", rows, rows), ("attacks", columns, predicted())):
        if not any(name in point.values for point in points for name in names):
            made_by = dict.fromkeys(lookup(pattern.replace("<a>", "a")).protocols[0] for pattern in patterns)
            raise UserError(
                f"expected reports with numbers of {kind}, got none",
                f"run vfc attack --protocol {' or --protocol '.join(made_by)} for every release",
            )
    chosen = [(ALL, points)]
    if any(point.control for point in points):
        chosen.append((WITHOUT, [point for point in points if not point.control]))
    pairs = [(diagnostic, measured) for diagnostic in rows for measured in columns]
    tests = sum(_correlation(some, *pair, LEVEL).value is not None for _, some in chosen for pair in pairs)
    blocks = tuple(
        Block(
            title=title,
            points=tuple(point.name for point in some),
            cells=tuple(_cell(some, *pair, tests) for pair in pairs),
        )
        for title, some in chosen
    )
    first = reports[0].dataset
    return Prediction(
        dataset=first.name,
        task=first.task,
        targets=first.parts["targets"].size if "targets" in first.parts else 0,
        diagnostics=rows,
        measured=columns,
        points=tuple(points),
        blocks=blocks,
        tests=tests,
        missing=tuple(missing_numbers(points, columns)),
        notes=tuple(reading_notes(list(groups.values()), points, columns)),
    )


def _check(reports: Sequence[Report]) -> None:
    if len(reports) < FEWEST:
        raise UserError(f"expected at least {FEWEST} reports, got {len(reports)}", "vfc predict REPORT REPORT ...")
    first = reports[0].dataset
    for report in reports[1:]:
        for what in ("name", "digest", "task", "split"):
            one, other = getattr(first, what), getattr(report.dataset, what)
            if one != other:
                kind = {"name": "dataset", "digest": "dataset digest"}.get(what, what)
                raise UserError(
                    f"expected reports of {kind} {one[:60]!r}, got {other[:60]!r} of release {report.release.name!r}",
                    "correlate releases of the same data",
                )
        if report.dataset.parts.get("targets") != first.parts.get("targets"):
            raise UserError(
                f"expected reports on the same target images, got others of release {report.release.name!r}",
                "use the same --split-seed (or --seed), --split and labels for all",
            )


def _columns(reports: Iterable[Report]) -> tuple[str, ...]:
    """The columns with placeholders filled in; only those that a report speaks of."""
    names = {name for report in reports for name in report.metrics}
    found: list[str] = []
    for pattern in predicted():
        metric = lookup(pattern.replace("<a>", "a"))
        found += sorted(name for name in names if metric.match(name) is not None)
    return tuple(found)


def _merged(group: Sequence[Report], names: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and reasons of one release, each from the first report that has it."""
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name in names:
        there = [report.metrics[name] for report in group if name in report.metrics]
        # A bound that an attack refuted is still what was predicted; without it only those that hold would count.
        there += refuted(name, group)
        known = [value.value for value in there if value.value is not None]
        if known:
            values[name] = known[0]
        else:
            protocol = lookup(name).protocols[0]
            reasons[name] = (there[0].reason or "no reason was given") if there else f"{protocol} was not run"
    return values, reasons


def _named(firsts: Sequence[Report], found: Sequence[tuple[dict[str, float], dict[str, str]]]) -> list[Point]:
    """Points named by the defense and the settings that at most half of its releases share."""
    same: dict[str, list[Mapping[str, Any]]] = {}
    for report in firsts:
        same.setdefault(report.release.name, []).append(report.release.settings)
    names: list[str] = []
    for report in firsts:
        others, own = same[report.release.name], report.release.settings
        unusual = [key for key in sorted(own) if 2 * sum(one.get(key) == own[key] for one in others) <= len(others)]
        names.append(" ".join([report.release.name, *(f"{key}={own[key]}" for key in unusual)]))
    counts = Counter(names)
    return [
        Point(
            name=name if counts[name] == 1 else f"{name} ({report.release.digest[:6]})",
            control=CONTROLS.get(report.release.name) if report.release.kind == "registered" else None,
            settings=report.release.settings,
            values=values,
            reasons=reasons,
        )
        for name, report, (values, reasons) in zip(names, firsts, found, strict=True)
    ]


def _correlation(points: Sequence[Point], diagnostic: str, measured: str, level: float) -> Correlation:
    both = [point.values for point in points if diagnostic in point.values and measured in point.values]
    x, y = ([ranked(values[name]) for values in both] for name in (diagnostic, measured))
    return spearman(x, y, level=level)


def _cell(points: Sequence[Point], diagnostic: str, measured: str, tests: int) -> Cell:
    sign, mark = expected(diagnostic), ""
    if tests and _correlation(points, diagnostic, measured, LEVEL / (2 * tests)).excludes_zero:
        value = _correlation(points, diagnostic, measured, LEVEL).value or 0.0
        mark = "*" if value * sign > 0 else "!"
    found = _correlation(points, diagnostic, measured, LEVEL)
    return Cell(diagnostic=diagnostic, measured=measured, expected=sign, correlation=found, mark=mark)
