"""The report as one HTML file: style, drawings and thumbnails inside, no script, nothing from the network.

A pure function of the report and its sidecar, of which `pictures` says what a page draws. Imports no torch.
Every text of the report is made harmless first, as on the terminal, and then escaped by the template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from markupsafe import Markup

from adversaries.evidence import ARMS, Arm, Value
from adversaries.health import MEANINGS
from reports.formats import svg
from reports.formats.page import render_page
from reports.gate.gate import Gate
from reports.gate.verdict import exit_code
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import example_gate, lookup, meaning
from reports.model.collector import collector_paused
from reports.model.harmless import LONGEST, clean, cleaned, short
from reports.model.numbers import figure, plain, span
from reports.model.pictures import PARTS, CostCurve, RocCurves, Spectra
from reports.model.pixels import uri
from reports.model.report import GateResult, Report
from reports.text import caveats, command, headline, origins, phrases
from reports.text.changes import changes
from reports.text.findings import state_words
from reports.text.power import powers
from reports.text.sections import WORST_ARMS, SectionContent, contents, worst_cases
from reports.text.threats import threats
from vfc.errors import UserError

MOST_ATTEMPTS = 1000
"""Attempts that are listed one by one at most."""

FIRST_GATES = 4
"""Gates that the first screen names, so that the curve is on it too."""

SIGNS = {"held": "✓", "broken": "✗", "inconclusive": "?", "measured": "·"}


@collector_paused()
def render_html(report: Report, rows: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        report: what was measured.
        rows: the sidecar's numpy arrays by key; without them there are no pictures, spectra and ROC curves.
    """
    return render_page("report", _Page(report, rows or {}), cleaned=True)


class _Page:
    """What the template asks for, section by section.

    Args:
        report: as it was read; shown only after cleaning.
        rows: the sidecar's arrays.
    """

    signs = SIGNS
    worst_arms = WORST_ARMS
    arm_names = ARMS
    meanings = MEANINGS
    parts = PARTS
    legend = staticmethod(headline.legend)
    image = staticmethod(uri)

    def __init__(self, report: Report, rows: Mapping[str, Any]) -> None:
        self.command = command.command_lines(command.command_words(report), 88)
        self.report = _harmless(report)
        self.index, self.rows = AttemptIndex(self.report), rows
        self.toward, self.task = phrases.operators(self.report), f"task:{self.report.dataset.task}"
        self.code = exit_code(self.report.verdict, self.report.status)
        self.verdict = phrases.verdict_sentence(self.report)
        self.plain_verdict, self.state = headline.plain_verdict(self.index), state_words
        self.summary, self.notes = headline.summary(self.index), headline.notes()
        self.facts = headline.facts(self.report)
        self.numbers = headline.numbers(self.index)
        self.changes: dict[str, list[str]] = {}
        for subject, sentence in changes(self.index):
            self.changes.setdefault(subject, []).append(sentence)
        self.controls, self.flagged = caveats.controls(self.index), caveats.flagged(self.index)
        self.release_facts, self.data_facts = caveats.release_facts(self.report), caveats.data_facts(self.report)
        self.not_measured = caveats.not_measured(self.index)
        self.silent = caveats.silent_protocols(self.report)
        self.sections = contents(self.index, rows)
        self.chosen, self.others = headline.chosen(self.index), headline.others(self.index)
        self.threats = threats(self.index)
        self.worst = worst_cases(self.index)
        self.powers, self.settings = powers(self.index), origins.settings(self.report)
        self.provenance = origins.provenance(self.report)

    @property
    def example_gate(self) -> str:
        """A gate that somebody might set."""
        return example_gate(self.report.metrics)

    @property
    def first_gates(self) -> list[GateResult]:
        """The gates of the first screen: those that decided the verdict, then those that were excused."""
        order = sorted(self.report.gates, key=lambda gate: (gate.outcome == "held", not gate.decides, gate.outcome))
        return order[:FIRST_GATES]

    def figure(self, name: str, value: Value) -> str:
        """A metric with its interval and unit, rounded toward failure where a gate judges it."""
        return figure(value, self.toward.get(name, frozenset()), unit=True)

    def bounds(self, value: Value) -> str:
        """An interval for a narrow column."""
        return span(value)

    def number(self, value: Value | None) -> str:
        """A number without its interval; a dash where there is none."""
        return "–" if value is None or value.value is None else plain(value)

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

    def curve(self, drawn: CostCurve) -> Markup:
        """The drawing of what repurposing costs."""
        return svg.curve(drawn.points, floor=drawn.floor, target=drawn.target)

    def spectra(self, drawn: Spectra) -> list[Markup]:
        """One drawing per layer."""
        return [svg.spectrum(clean(layer), values) for layer, values in drawn.layers.items()]

    def rocs(self, drawn: RocCurves) -> list[Markup]:
        """One ROC curve per adversary."""
        return [svg.roc(clean(name), *rates) for name, rates in drawn.curves.items()]

    def arms(self, attempt: Attempt | None, value: Value | None) -> dict[Arm, Value | None]:
        """All arms of an attempt; of one that the report does not tell only its number."""
        if attempt is None:
            return {name: value if name == "attack" else None for name in self.arm_names}
        return {name: attempt.arm(name) for name in self.arm_names}

    def reached(self, section: SectionContent) -> list[tuple[str, Attempt, None]]:
        """Title and attempt behind the numbers of a section."""
        return [(phrases.aim(attempt), attempt, None) for attempt in section.chosen]

    def strip(self, arms: dict[Arm, Value | None]) -> Markup:
        """The arms of one attempt on one line; nothing where they are no rates."""
        known = [value for value in arms.values() if value is not None and value.value is not None]
        return svg.arms(arms) if all(value.unit == "rate" for value in known) else Markup("")

    def attempt_name(self, attempt: Attempt) -> str:
        """Adversary and settings."""
        return short(attempt.name, 60)

    def level(self, attempt: Attempt) -> str:
        """What an attacker had."""
        return phrases.granted(attempt)

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """Attempts to be listed one by one."""
        return self.index.attempts[:MOST_ATTEMPTS]

    @property
    def unlisted(self) -> int:
        """How many attempts are not listed."""
        return max(0, len(self.index.attempts) - MOST_ATTEMPTS)


def _harmless(report: Report) -> Report:
    """The report with every text in it made harmless; a short way for those that hold nothing to be changed."""
    try:
        text = report.model_dump_json(by_alias=True)
    except ValueError:  # lone surrogates, which JSON in UTF-8 cannot hold
        text = "\\"
    # Without escapes every text is a run without quotes, so none is longer than the longest run.
    longest = max(map(len, text.split('"')))
    if text.isascii() and text.isprintable() and "\\" not in text and longest <= LONGEST:
        return Report.model_validate_json(text)
    return Report.model_validate(cleaned(report.model_dump(by_alias=True)))
