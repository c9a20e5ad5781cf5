"""The report as Markdown for a CI step summary: the verdict, the gates, the numbers, what is missing.

Everything from the report is text: what Markdown or HTML would take for markup is written as a character reference.
Never longer than LIMIT bytes, whatever the report: sections that do not fit any more are cut and counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from reports.gate.verdict import exit_code
from reports.model.attempt_index import AttemptIndex
from reports.model.catalog import example_gate, row_of
from reports.model.harmless import LONGEST, SENTENCES, clean
from reports.model.identifiers import labels
from reports.model.numbers import figure
from reports.model.pictures import CostCurve, Point
from reports.model.report import Report
from reports.text.caveats import controls, data_facts, flagged, listed, not_measured, release_facts, silent_protocols
from reports.text.command import command_words, quoted
from reports.text.findings import gate_findings, state_words
from reports.text.headline import notes, plain_verdict, summary
from reports.text.phrases import operators, verdict_sentence
from reports.text.power import powers
from reports.text.sections import contents

LIMIT = 60 * 1024
"""Bytes; step summaries of GitHub take 1 MiB, comments of most services 64 KiB."""

_LONGEST = 160
_MARKUP = re.compile(
    r"[\\*#|&~$^]|\](?=[(\[:])|\[(?=\^|.?\])"  # wherever they stand; brackets where they could be a link or a box
    r"|(?<![A-Za-z0-9])@|@(?!\d+(?![\d.])|all\b)"  # a mention or an address, and no number of labels
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"  # inside a word it is none
    r"|<(?![ =])|!(?=\d)"  # a tag, a merge request
    r"|:(?=//|[a-z0-9_+-]+:)|(?i:(?<=mailto)|(?<=xmpp)):"  # an address, a picture of a face
    r"|^>|^[=+-](?=\s|[\s=-]*$)"  # the start of a block
)
"""What GitHub and GitLab would take for markup; as little as possible, because many read the text itself."""
_LABELS = re.compile(r"(?<![A-Za-z0-9])@(\d+|all)\b")
"""A number of labels that would be read as a mention."""
_BAR = 20
_NAMED = {"<": "&lt;", "&": "&amp;"}
SIGNS = {"held": "✅", "broken": "❌", "inconclusive": "⚠️", "measured": "ℹ️"}
"""A picture for every verdict and outcome."""


def render_markdown(report: Report) -> str:
    """The report as GitHub-flavored Markdown; equal reports give equal text.

    Args:
        report: what was measured.
    """
    index = AttemptIndex(report)
    sections = [
        _verdict(index),
        table("Gates", ("", "gate", "why", "where"), gate_rows(report)) or [_hint(report), ""],
        *_curves(index),
        table("Numbers", ("metric", "value", "target images", "flags", "identifiers"), _metrics(report)),
        [
            "## Controls and flags",
            "",
            *(f"- {inert(sentence, SENTENCES)}" for sentence in controls(index)),
            *_flags(index),
            "",
        ],
        table(
            "Calibration of the chosen adversaries", ("adversary", "finds", "misses", "false alarms"), _powers(index)
        ),
        table("Not measured", ("state", "why", "adversaries or numbers"), _missing(index)),
        table("The release and the data", ("", ""), _facts(report)),
        _command(report),
    ]
    shown: list[str] = []
    room = LIMIT - 200
    for position, section in enumerate(sections):
        # Half a table can be read; half a block of code would swallow what follows.
        whole = any(line.startswith("```") for line in section)
        for number, line in enumerate(section):
            needed = section if whole and number == 0 else [line]
            if room < sum(len(part.encode()) + 1 for part in needed):
                left = sum(map(len, sections[position:])) - number
                return "\n".join([*shown, "", f"_{left} more lines are in report.json._", ""])
            room -= len(line.encode()) + 1
            shown.append(line)
    return "\n".join(shown)


def _verdict(index: AttemptIndex) -> list[str]:
    report = index.report
    budget = report.command.settings.with_defaults.get("budget") or "not recorded"
    facts = {"budget": budget, "data": report.dataset.name, "task": report.dataset.task, "release": report.release.name}
    said = verdict_sentence(report)
    return [
        f"# {SIGNS[report.verdict]} {report.verdict.upper()}",
        "",
        f"{inert(said[:1].upper() + said[1:])}; exit code {exit_code(report.verdict, report.status)}.",
        "",
        f"**{inert(plain_verdict(index), SENTENCES)}**",
        "",
        ", ".join(f"{name} {_bold(str(value))}" for name, value in facts.items()) + ".",
        "",
        inert(summary(index), SENTENCES),
        "",
        *(line for note in notes() for line in (inert(note, SENTENCES), "")),
    ]


def _hint(report: Report) -> str:
    return inert(f"No gate was set. Set one with, for instance, --gate '{example_gate(report.metrics)}'.")


def _curves(index: AttemptIndex) -> list[list[str]]:
    """A table for every curve over labels, with a bar for each number."""
    drawn = [one for content in contents(index, {}) for one in content.pictures if isinstance(one, CostCurve)]
    columns = ("labels per class", "accuracy of the strongest attack", "")
    found = []
    for curve in drawn:
        rows = [(inert(point.labels), _interval(point), _bar(point.value)) for point in curve.points]
        for name, value in (("target model", curve.target), ("without the release", curve.floor)):
            if rows and value is not None:
                rows.append((name, f"{value:.3f}", _bar(value)))
        found.append(table("What repurposing costs", columns, rows))
    return found


def _interval(point: Point) -> str:
    return f"{point.value:.3f} [{point.low:.3f}, {point.high:.3f}]"


def _bar(share: float) -> str:
    full = round(_BAR * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (_BAR - full)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a heading and a table; none without rows."""
    if not rows:
        return []
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
    return [f"## {title}", "", *lines, ""]


def gate_rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Every gate: its outcome, itself, why, and where it was asked for."""
    rows = []
    for finding in gate_findings(report):
        source = finding.result.source
        where = "command line or preset" if source is None else inert(f"{source.file}, line {source.line}")
        state = f"{SIGNS[finding.result.outcome]} {inert(state_words(finding.result))}"
        rows.append((state, inert(finding.expr), inert(finding.message, SENTENCES), where))
    return rows


def _metrics(report: Report) -> list[tuple[str, str, str, str, str]]:
    toward = operators(report)
    rows = []
    for name, value in sorted(report.metrics.items(), key=lambda item: (row_of(item[0]) is None, item[0])):
        number = figure(value, toward.get(name, frozenset()))
        shown = number if value.value is not None else f"unknown: {value.reason or 'no reason was given'}"
        flags = listed(value.flags)
        rows.append((inert(name), inert(shown), str(value.n or ""), inert(flags), inert(labels(name))))
    return rows


def _flags(index: AttemptIndex) -> list[str]:
    return [
        f"- {_bold(found.flag)} ({inert(found.weight)}): {inert(found.meaning)}. "
        f"{inert(listed((*found.metrics, *found.adversaries)), LONGEST)}"
        for found in flagged(index)
    ]


def _powers(index: AttemptIndex) -> list[tuple[str, str, str, str]]:
    return [
        (
            inert(each.name if each.status == "calibrated" else f"{each.name} ({each.status})"),
            inert("; ".join(each.finds), LONGEST) or "-",
            inert(", ".join(each.misses), LONGEST) or "-",
            inert(each.alarms) or "-",
        )
        for each in powers(index)
        if each.chosen
    ]


def _missing(index: AttemptIndex) -> list[tuple[str, str, str]]:
    return [(inert(state), inert(reason), inert(names)) for state, reason, names in not_measured(index)]


def _facts(report: Report) -> list[tuple[str, str]]:
    rows = [("release", inert(fact, 400)) for fact in release_facts(report)]
    rows.append(("data", inert(data_facts(report), 400)))
    silent = silent_protocols(report)
    if silent:
        rows.append(("not run", inert(f"This report says nothing about {', '.join(silent)}.", 400)))
    return rows


def _command(report: Report) -> list[str]:
    words = command_words(report)
    if not words:
        return []
    line = " ".join(map(quoted, words))
    fence = "`" * (max((len(run) for run in _runs(line)), default=0) + 3)
    facts = f"report {report.digest[:12] or 'not sealed'}, {report.tool.name} {report.tool.version}"
    return ["## The same again", "", f"{fence}sh", line, fence, "", inert(facts), ""]


def _runs(line: str) -> list[str]:
    """The runs of backticks in a line."""
    return [run for run in "".join(c if c == "`" else " " for c in line).split(" ") if run]


def _bold(text: str) -> str:
    """A short text in bold; asterisks around nothing would be shown."""
    return f"**{inert(text.strip(), 60) or 'without a name'}**"


def inert(text: str, longest: int = _LONGEST) -> str:
    """A text of at most `longest` characters that Markdown shows as it is."""
    shown = clean(text, longest=max(longest, LONGEST))
    shown = shown if len(shown) <= longest else f"{shown[: longest - 3]}..."
    shown = _LABELS.sub(r"K = \1", shown.replace("`", "'"))
    marked = _MARKUP.sub(lambda found: _NAMED.get(found[0], f"&#{ord(found[0])};"), shown)
    return marked.replace("www.", "www&#46;")
