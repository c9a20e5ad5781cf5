"""The report as one HTML file: style, drawings and thumbnails inside, no script, nothing from the network.

A pure function of the report and its sidecar, of which `pictures` says what a page draws. Imports no torch.
Every text of the report is made harmless first, as on the terminal, and then escaped by the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adversaries.evidence import Value
from adversaries.health import MEANINGS
from reports.formats import svg
from reports.gate.gate import Gate, exit_code
from reports.model.attempt_index import Attempt, Lineup
from reports.model.catalog import lookup
from reports.model.collector import collector_paused
from reports.model.report import GateResult, Report
from reports.text import caveats, command, curve, headline, origins, phrases, pictures
from reports.text.changes import changes
from reports.text.power import powers
from reports.text.sections import WORST_ARMS, Section, meaning, sections, worst_cases
from reports.text.suppression import WITHOUT_LABELS, suppression
from reports.text.threats import threats
from vfc.errors import UserError

MOST_ATTEMPTS = 1000
"""So many attempts are listed one by one."""

SIGNS = {"held": "✓", "broken": "✗", "inconclusive": "?", "measured": "·"}


@collector_paused()
def render_html(report: Report, rows: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        report: what was measured.
        rows: the sidecar's numpy arrays by key; without them there are no pictures, spectra and ROC curves.
    """
    return _environment().get_template("report.html.j2").render(page=_Page(report, rows or {}))


@cache
def _environment() -> Environment:
    """Templates are compiled once."""
    return Environment(
        loader=PackageLoader("reports.formats"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


class _Page:
    """What the template asks for, section by section.

    Args:
        report: as it was read; shown only after cleaning.
        rows: the sidecar's arrays.
    """

    signs = SIGNS
    without_labels = WITHOUT_LABELS
    worst_arms = WORST_ARMS
    arm_names = ("attack", "floor", "ceiling", "shuffled", "undefended")
    meanings = MEANINGS
    expected = phrases.EXPECTED
    parts = pictures.PARTS
    picture = staticmethod(pictures.uri)

    def __init__(self, report: Report, rows: Mapping[str, Any]) -> None:
        self.command = command.command_lines(command.command_words(report), 88)
        self.report = _harmless(report)
        self.lineup, self.rows = Lineup(self.report), rows
        self.toward, self.task = phrases.operators(self.report), f"task:{self.report.dataset.task}"
        self.code = exit_code(self.report.verdict)
        self.said = phrases.verdict_sentence(self.report)
        self.meaning = phrases.meaning(self.report)
        self.facts = headline.facts(self.report)
        self.numbers = headline.numbers(self.report)
        self.changes: dict[str, list[str]] = {}
        for subject, sentence in changes(self.lineup):
            self.changes.setdefault(subject, []).append(sentence)
        self.controls, self.flagged = caveats.controls(self.lineup), caveats.flagged(self.lineup)
        self.release_facts, self.data_facts = caveats.release_facts(self.report), caveats.data_facts(self.report)
        self.not_measured = caveats.not_measured(self.lineup)
        self.silent = caveats.silent_protocols(self.report)
        self.suppression = suppression(self.lineup) if self.lineup.task else []
        self.sections = sections(self.lineup, pictures.drawn(rows))
        self.chosen, self.others = headline.chosen(self.lineup), headline.others(self.lineup)
        self.points, self.gallery = curve.points(self.lineup), pictures.gallery(rows)
        self.mask, self.threats = pictures.mask(rows), threats(self.lineup)
        self.worst = worst_cases(self.lineup)
        self.powers, self.settings = powers(self.lineup), origins.settings(self.report)
        self.provenance = origins.provenance(self.report)

    def figure(self, name: str, value: Value) -> str:
        """A metric with its interval and unit, rounded toward failure where a gate judges it."""
        return phrases.figure(value, self.toward.get(name, frozenset()), unit=True)

    def bounds(self, value: Value) -> str:
        """An interval for a narrow column."""
        return phrases.span(value)

    def number(self, value: Value | None) -> str:
        """A number without its interval; a dash where there is none."""
        return "–" if value is None or value.value is None else phrases.plain(value)

    def share(self, value: Value) -> str:
        """A rate as the length of a bar."""
        return f"{min(1.0, max(0.0, value.value or 0.0)):.3f}"

    def breakable(self, name: str) -> Markup:
        """A name of the catalog with places where a line may end."""
        return Markup("<wbr>").join(re.split(r"(?<=[._@])", name))

    def meaning_of(self, name: str) -> str:
        """What the catalog says of a metric, and which way is better."""
        try:
            metric = lookup(name)
        except UserError:
            return meaning(name)
        ways = {"up": "; higher is better for the defender", "down": "; lower is better for the defender", None: ""}
        return metric.meaning + ways[metric.better]

    def limit(self, result: GateResult) -> Markup:
        """A gate's number beside its limit."""
        try:
            gate = Gate.parse(result.expr)
        except UserError:
            return Markup("")
        return svg.limit(result.observed, gate.number, gate.upward)

    def metric_of(self, result: GateResult) -> str:
        """What the catalog says of the metric that a gate judges."""
        try:
            return self.meaning_of(Gate.parse(result.expr).metric)
        except UserError:
            return "this version cannot read it"

    @cached_property
    def drawing(self) -> Markup:
        """The drawing of what repurposing costs."""
        floor = self.lineup.floor
        return svg.curve(
            self.points, floor=None if floor is None else floor.value, target=self.report.target.accuracy.value
        )

    @cached_property
    def curve_rows(self) -> list[tuple[curve.Point, str]]:
        """Every point of the curve, and who reached it."""
        rows = []
        for point in self.points:
            source = self.lineup.source(f"adaptive.accuracy@{point.labels}")
            rows.append((point, "the report does not tell" if source is None else source.name))
        return rows

    @property
    def no_curve(self) -> str:
        """Why there is no curve."""
        return curve.absence(self.lineup)

    def arms(self, attempt: Attempt | None, value: Value | None) -> dict[str, Value | None]:
        """All arms of an attempt; of one that the report does not tell only its number."""
        if attempt is None:
            return {name: value if name == "attack" else None for name in self.arm_names}
        return {name: attempt.arm(name) for name in self.arm_names}

    def reached(self, section: Section) -> list[tuple[str, Attempt, None]]:
        """Title and attempt behind the numbers of a section."""
        return [(phrases.aim(attempt), attempt, None) for attempt in section.chosen]

    def strip(self, arms: dict[str, Value | None]) -> Markup:
        """The arms of one attempt on one line; nothing where they are no rates."""
        known = [value for value in arms.values() if value is not None and value.value is not None]
        return svg.arms(arms) if all(value.unit == "rate" for value in known) else Markup("")

    def who(self, attempt: Attempt) -> str:
        """Adversary and settings."""
        return phrases.short(attempt.name, 60)

    def level(self, attempt: Attempt) -> str:
        """What an attacker had."""
        return phrases.granted(attempt)

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """Attempts to be listed one by one."""
        return self.lineup.attempts[:MOST_ATTEMPTS]

    @property
    def unlisted(self) -> int:
        """How many attempts are not listed."""
        return max(0, len(self.lineup.attempts) - MOST_ATTEMPTS)

    @cached_property
    def spectra(self) -> list[Markup]:
        """One drawing per layer."""
        return [svg.spectrum(phrases.clean(layer), values) for layer, values in pictures.spectra(self.rows).items()]

    @cached_property
    def rocs(self) -> list[Markup]:
        """One ROC curve per adversary."""
        return [svg.roc(phrases.clean(name), *rates) for name, rates in pictures.rocs(self.rows).items()]


def _harmless(report: Report) -> Report:
    """The report with every text in it made harmless; a short way for those that hold nothing to be changed."""
    try:
        text = report.model_dump_json(by_alias=True)
    except ValueError:  # lone surrogates, which JSON in UTF-8 cannot hold
        text = "\\"
    # Without escapes every text is a run without quotes, so none is longer than the longest run.
    longest = max(map(len, text.split('"')))
    if text.isascii() and text.isprintable() and "\\" not in text and longest <= phrases.LONGEST:
        return Report.model_validate_json(text)
    return Report.model_validate(phrases.cleaned(report.model_dump(by_alias=True)))
