"""The report as one HTML file: style, drawings and thumbnails inside, no script, nothing from the network.

A pure function of the report and its sidecar. Imports no torch. Every text of the report is made harmless first, as on
the terminal, and then escaped by the template. What the sidecar may hold for a page: `reports.pictures`, and

| key | shape | holds |
|---|---|---|
| `leakage/spectrum/<layer>` | (k,) | mean singular values of the layer's Jacobian, at least 0 |
| `membership/roc/fpr`, `membership/roc/tpr` | (m,) | the ROC curve, false positive rates ascending |
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adversaries.evidence import Value
from adversaries.health import MEANINGS
from reports import curve, headline, pictures, remarks, svg, words
from reports.catalog import lookup
from reports.changes import changes
from reports.gate import Gate, exit_code
from reports.lineup import Attempt, Lineup
from reports.report import Calibration, GateResult, Report
from reports.suppression import WITHOUT_LABELS, suppression
from vfc.errors import UserError

MOST_ATTEMPTS = 1000
"""So many attempts are listed one by one."""

SIGNS = {"held": "✓", "broken": "✗", "inconclusive": "?", "measured": "·"}

KNOWLEDGE = {
    "images": "clean, labelled images of its own",
    "models": "models trained on them",
    "unlabelled": "releases without labels",
    "labelled": "labelled releases",
    "pairs": "pairs of its own images and their releases",
    "defense": "the defense: weights, mask, noise law",
    "target": "the target's own predictions",
}
"""What an attacker may see, in words."""

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
    environment = Environment(
        loader=PackageLoader("reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(page=_Page(report, rows or {}))


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
        self.report = Report.model_validate(words.cleaned(report.model_dump(by_alias=True)))
        self.lineup, self.rows = Lineup(self.report), rows
        self.toward = words.operators(self.report)
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
        self.mask = pictures.mask(rows)

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
    def threats(self) -> list[dict[str, str]]:
        """Who knows what: one row per level that attacked, with the best that it read of the task."""
        groups: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.lineup.attempts:
            groups[attempt.level].append(attempt)
        found = []
        before: set[str] = set()
        for level, attempts in sorted(groups.items()):
            knows = dict.fromkeys(name for attempt in attempts for row in attempt.rows for name in row.threat.knows)
            new = [KNOWLEDGE.get(name, name) for name in knows if name not in before]
            labels = sorted({str(attempt.labels) for attempt in attempts if attempt.labels is not None}, key=_numeric)
            measured = [attempt for attempt in attempts if attempt.status == "measured"]
            task = [value for attempt in measured if attempt in self.lineup.task and (value := attempt.arm("attack"))]
            reads = [value.value for value in task if value.value is not None]
            found.append(
                {
                    "level": level,
                    "word": words.LEVELS.get(level, ""),
                    "knows": ("also " if before and new else "") + (", ".join(new) or "nothing more"),
                    "labels": f"K = {', '.join(labels)}" if labels else "none",
                    "who": remarks.listed(dict.fromkeys(attempt.adversary for attempt in attempts), 12),
                    "count": f"{len(measured)} of {len(attempts)}",
                    "range": f"{min(reads):.3f} to {max(reads):.3f}" if reads else "–",
                }
            )
            before |= set(knows)
        return found

    @cached_property
    def chosen(self) -> list[tuple[str, Attempt | None, dict[str, Value | None]]]:
        """Title, attempt and arms behind every headline number, then those of other goals."""
        found = []
        for title, name, attempt in headline.sources(self.lineup):
            arms = self._arms(attempt)
            if attempt is None:
                arms["attack"] = self.report.metrics[name]
            found.append((title.replace("\n", ", "), attempt, arms))
        task = f"task:{self.report.dataset.task}"
        for attempt in self.lineup.attempts:
            if attempt.chosen and attempt.goal != task:
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
    def calibration(self) -> list[tuple[str, str, str, str]]:
        """Status, finds, false alarms, and the adversaries of which that is known."""
        groups: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        for name, known in sorted(self.report.calibration.items()):
            groups[_calibrated(known)].append(name)
        return [(*key, ", ".join(names)) for key, names in groups.items()]

    @property
    def settings(self) -> list[tuple[str, str, bool]]:
        """Every option with its value, and whether it was passed."""
        asked = self.report.command.settings
        every = {**asked.with_defaults, **{k: v for k, v in asked.passed.items() if k not in asked.with_defaults}}
        return [(name, _shown(asked.passed.get(name, every[name])), name in asked.passed) for name in sorted(every)]

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """Where and when the report was made, and digests that identify what went in."""
        seen, data, release = self.report.provenance, self.report.dataset, self.report.release
        changed = {None: "", True: ", with uncommitted changes", False: ""}[seen.dirty]
        took = None if seen.duration_s is None else f"{seen.duration_s:,.0f} s"
        facts = [
            ("report", self.report.digest),
            ("tool", f"{self.report.tool.name} {self.report.tool.version}"),
            ("commit", f"{seen.git_commit}{changed}" if seen.git_commit else None),
            ("started", seen.started),
            ("took", took),
            ("python", seen.python),
            ("torch", seen.torch),
            ("device", seen.device),
            ("platform", seen.platform),
            ("data set", f"{data.name} {data.digest}"),
            *((f"part {name.replace('_', ' ')}", f"{part.size:,}, {part.digest}") for name, part in data.parts.items()),
            ("release", f"{release.name} {release.digest}"),
        ]
        return [(name, str(fact)) for name, fact in facts if fact]

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


def _numbers(array: Iterable[Any]) -> list[float]:
    """The finite numbers of an array with one axis."""
    return [float(entry) for entry in array if math.isfinite(entry)]


def _calibrated(known: Calibration) -> tuple[str, str, str]:
    return known.status, _shown(known.finds), _shown(known.false_alarms)


def _shown(value: Any) -> str:
    """A setting as text."""
    if value is None or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _numeric(labels: str) -> tuple[bool, int]:
    return (False, int(labels)) if labels.isdecimal() else (True, 0)
