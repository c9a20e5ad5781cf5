"""A report's short form for notebooks: the verdict, the gates and the headline numbers. Everything is escaped."""

from __future__ import annotations

from html import escape

from reports.model.report import Report
from reports.text.findings import gate_findings
from reports.text.phrases import clean, figure, meaning, verdict_sentence

_COLORS = {"held": "#1a7f37", "broken": "#cf222e", "inconclusive": "#9a6700", "measured": "#0969da"}
_HEADLINES = (
    "target.accuracy",
    "transfer.suppression_ratio",
    "adaptive.suppression_ratio",
    "adaptive.leakage",
    "adaptive.labels_to_90",
)
_MOST = 20


def render_short(report: Report) -> str:
    """One small piece of HTML without scripts and without anything from outside.

    Args:
        report: what was measured.
    """
    color = _COLORS[report.verdict]
    parts = [
        f'<div style="border-left:4px solid {color};padding:0 .8em">',
        f'<p><strong style="color:{color}">{report.verdict.upper()}</strong> {_text(verdict_sentence(report))}</p>',
        f"<p>{_text(meaning(report))}</p>",
        f"<p>release {_text(report.release.name)}, data {_text(report.dataset.name)}, "
        f"task {_text(report.dataset.task)}, report {_text(report.digest[:12] or 'not sealed')}</p>",
        "<table>",
    ]
    findings = gate_findings(report)
    for finding in findings[:_MOST]:
        parts.append(f"<tr><td>{finding.result.outcome}</td><td>{escape(finding.message)}</td></tr>")
    if len(findings) > _MOST:
        parts.append(f"<tr><td></td><td>and {len(findings) - _MOST} more gates</td></tr>")
    for name in _HEADLINES:
        if name in report.metrics:
            parts.append(f"<tr><td>{name}</td><td>{_text(figure(report.metrics[name]))}</td></tr>")
    return "\n".join([*parts, "</table>", "</div>"])


def _text(text: str) -> str:
    return escape(clean(text))
