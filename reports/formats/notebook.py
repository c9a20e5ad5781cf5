"""A report's short form for notebooks: the verdict, the gates and the headline numbers. Everything is escaped."""

from __future__ import annotations

from html import escape

from reports.model.attempt_index import AttemptIndex
from reports.model.harmless import SENTENCES, clean
from reports.model.report import DISPLAYS, Report
from reports.text.findings import gate_findings, state_words
from reports.text.headline import numbers, plain_verdict
from reports.text.phrases import verdict_sentence

_COLORS = {"held": "#1a7f37", "broken": "#cf222e", "inconclusive": "#9a6700", "measured": "#0969da"}
_MOST = 20


@DISPLAYS.register("notebook")
def render_short(report: Report) -> str:
    """One small piece of HTML without scripts and without anything from outside.

    Args:
        report: what was measured.
    """
    color, index = _COLORS[report.verdict], AttemptIndex(report)
    parts = [
        f'<div style="border-left:4px solid {color};padding:0 .8em">',
        f'<p><strong style="color:{color}">{report.verdict.upper()}</strong> {_text(verdict_sentence(report))}</p>',
        f"<p><strong>{escape(clean(plain_verdict(index), longest=SENTENCES))}</strong></p>",
        f"<p>release {_text(report.release.name)}, data {_text(report.dataset.name)}, "
        f"task {_text(report.dataset.task)}, report {_text(report.digest[:12] or 'not sealed')}</p>",
        "<table>",
    ]
    findings = gate_findings(report)
    for finding in findings[:_MOST]:
        parts.append(f"<tr><td>{_text(state_words(finding.result))}</td><td>{escape(finding.message)}</td></tr>")
    if len(findings) > _MOST:
        parts.append(f"<tr><td></td><td>and {len(findings) - _MOST} more gates</td></tr>")
    for number in numbers(index):
        if number.value is not None:
            parts.append(f"<tr><td>{_text(number.title)}</td><td>{_text(number.figure)}</td></tr>")
    return "\n".join([*parts, "</table>", "</div>"])


def _text(text: str) -> str:
    return escape(clean(text))
