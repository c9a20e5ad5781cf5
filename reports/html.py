"""The report as one HTML file: style, drawings and thumbnails inside, no script, nothing from the network.

A pure function of the report and its sidecar. Imports no torch. Every text of the report is made harmless first, as on
the terminal, and then escaped by the template. What the sidecar may hold for a page: `reports.pictures`, and

| key | shape | holds |
|---|---|---|
| `leakage/spectrum/<layer>` | (k,) | mean singular values of the layer's Jacobian, at least 0 |
| `membership/roc/fpr`, `membership/roc/tpr` | (m,) | the ROC curve, false positive rates ascending |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adversaries.evidence import Value
from adversaries.health import MEANINGS
from reports import curve, headline, origins, pictures, remarks, svg, words
from reports.catalog import lookup
from reports.changes import changes
from reports.gate import Gate, exit_code
from reports.lineup import Attempt, Lineup
from reports.report import GateResult, Report
from reports.suppression import WITHOUT_LABELS, suppression
from reports.threats import threats
from vfc.errors import UserError

MOST_ATTEMPTS = 1000
"""So many attempts are listed one by one."""

SIGNS = {"held": "✓", "broken": "✗", "inconclusive": "?", "measured": "·"}

FAMILIES = {
    "attribute": ("Private attributes", "What the release tells about labels that it was not made for."),
    "inversion": ("Reconstruction", "How close an attacker comes to the original images."),
    "mask": ("Knowing the mask", "What the mask itself hides."),
    "leakage": ("Leakage without an attack", "Properties of the release; they inform and prove nothing."),
    "membership": ("Membership", "Whether an attacker can tell which images the defense was fitted on."),
    "linkage": ("Linkage", "Whether releases can be matched to images, or to each other."),
    "evasion": ("Evasion", "The target when its input is perturbed on purpose."),
    "mdl": ("Codelength", "How compactly labels can be told to someone who has the releases."),
}
"""Sections of the catalog by the first word of their metrics."""

_UNITS = ("dB", "bits", "nats", "dimensions")


def render_html(report: Report, rows: Mapping[str, Any] | None = None) -> str:
    """The page.

    Args:
        report: what was measured.
        rows: the sidecar's numpy arrays by key; without them there are no pictures, spectra and ROC curve.
    """
    return _environment().get_template("report.html.j2").render(page=_Page(report, rows or {}))


@cache
def _environment() -> Environment:
    """Templates are compiled once."""
    return Environment(
        loader=PackageLoader("reports"),
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
    arm_names = ("attack", "floor", "ceiling", "shuffled", "undefended")
    meanings = MEANINGS
    expected = words.EXPECTED

    def __init__(self, report: Report, rows: Mapping[str, Any]) -> None:
        self.command = words.command_lines(words.command_words(report), 88)
        self.report = _harmless(report)
        self.lineup, self.rows = Lineup(self.report), rows
        self.toward, self.task = words.operators(self.report), f"task:{self.report.dataset.task}"
        self.code = exit_code(self.report.verdict)
        self.said = words.verdict_sentence(self.report)
        self.meaning = words.meaning(self.report)
        self.facts = headline.facts(self.report)
        self.numbers = headline.numbers(self.report)
        self.changes: dict[str, list[str]] = {}
        for subject, sentence in changes(self.lineup):
            self.changes.setdefault(subject, []).append(sentence)
        self.controls, self.flagged = remarks.controls(self.lineup), remarks.flagged(self.lineup)
        self.release_facts, self.data_facts = remarks.release_facts(self.report), remarks.data_facts(self.report)
        self.not_measured = remarks.not_measured(self.lineup)
        self.silent = remarks.silent_protocols(self.report)
        self.suppression = suppression(self.lineup) if self.lineup.task else []
        self.points, self.gallery = curve.points(self.lineup), pictures.gallery(rows)
        self.mask, self.threats = pictures.mask(rows), threats(self.lineup)
        self.calibration, self.settings = origins.calibration(self.report), origins.settings(self.report)
        self.provenance = origins.provenance(self.report)

    @cached_property
    def sections(self) -> list[tuple[str, str]]:
        """Id and title of every family that this report has something about."""
        drawn = {
            "inversion": bool(self.gallery),
            "mask": self.mask is not None,
            "leakage": bool(self.spectra),
            "membership": bool(self.roc),
        }
        return [(key, title) for key, (title, _) in FAMILIES.items() if self.family(key) or drawn.get(key)]

    def about(self, key: str) -> str:
        """One sentence on a family."""
        return FAMILIES[key][1]

    def family(self, key: str) -> list[tuple[str, Value]]:
        """Metrics whose name starts with this word, by name."""
        return sorted((name, value) for name, value in self.report.metrics.items() if name.split(".")[0] == key)

    @cached_property
    def others(self) -> list[tuple[str, Value]]:
        """Numbers that no other section shows."""
        shown = headline.shown(self.lineup) | {f"adaptive.accuracy@{labels}" for labels in (0, *self.lineup.grid)}
        return sorted(
            (name, value)
            for name, value in self.report.metrics.items()
            if name not in shown and name.split(".")[0] not in FAMILIES and value.value is not None
        )

    def figure(self, name: str, value: Value) -> str:
        """A metric with its interval and unit, rounded toward failure where a gate judges it."""
        unit = f" {value.unit}" if value.unit in _UNITS and value.value is not None else ""
        return words.figure(value, self.toward.get(name, frozenset())) + unit

    def bounds(self, value: Value) -> str:
        """An interval for a narrow column."""
        return words.span(value)

    def number(self, value: Value | None) -> str:
        """A number without its interval; a dash where there is none."""
        return "–" if value is None or value.value is None else words.number(value.value, value.unit)

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
            return "this version does not know it"
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

    @cached_property
    def chosen(self) -> list[tuple[str, Attempt | None, dict[str, Value | None]]]:
        """Title, attempt and arms behind every headline number, then those of other goals."""
        found = []
        for title, name, attempt in headline.sources(self.lineup):
            arms = self._arms(attempt)
            if attempt is None:
                arms["attack"] = self.report.metrics[name]
            found.append((title.replace("\n", ", "), attempt, arms))
        for attempt in self.lineup.attempts:
            if attempt.chosen and attempt.goal != self.task:
                labels = "" if attempt.labels is None else f", K = {attempt.labels}"
                found.append((f"{words.short(attempt.goal)}{labels}", attempt, self._arms(attempt)))
        return found

    def _arms(self, attempt: Attempt | None) -> dict[str, Value | None]:
        return {name: None if attempt is None else attempt.arm(name) for name in self.arm_names}

    def strip(self, arms: dict[str, Value | None]) -> Markup:
        """The arms of one attempt on one line; nothing where they are no rates."""
        known = [value for value in arms.values() if value is not None and value.value is not None]
        return svg.arms(arms) if all(value.unit == "rate" for value in known) else Markup("")

    def who(self, attempt: Attempt) -> str:
        """Adversary and settings."""
        return words.short(attempt.name, 60)

    def level(self, attempt: Attempt) -> str:
        """A threat level with its word."""
        return f"{attempt.level} {words.LEVELS.get(attempt.level, '')}".strip()

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
        start = "leakage/spectrum/"
        layers = sorted(key for key in self.rows if key.startswith(start))
        return [svg.spectrum(words.clean(layer.removeprefix(start)), _numbers(self.rows[layer])) for layer in layers]

    @cached_property
    def roc(self) -> Markup:
        """The ROC curve; nothing without its arrays."""
        false, true = (_numbers(self.rows.get(f"membership/roc/{name}", ())) for name in ("fpr", "tpr"))
        return svg.roc(false, true) if false and len(false) == len(true) else Markup("")


def _harmless(report: Report) -> Report:
    """The report with every text in it made harmless; a short way for those that hold nothing to be changed."""
    try:
        text = report.model_dump_json(by_alias=True)
    except ValueError:  # lone surrogates, which JSON in UTF-8 cannot hold
        text = "\\"
    # Without escapes every text is a run without quotes, so none is longer than the longest run.
    longest = max(map(len, text.split('"')))
    if text.isascii() and text.isprintable() and "\\" not in text and longest <= words.LONGEST:
        return Report.model_validate_json(text)
    return Report.model_validate(words.cleaned(report.model_dump(by_alias=True)))


def _numbers(array: Any) -> list[float]:
    """The finite numbers of an array, whatever its shape."""
    import numpy as np

    return [float(entry) for entry in np.asarray(array, dtype=np.float64).reshape(-1) if math.isfinite(entry)]
