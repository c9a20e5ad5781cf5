"""What moved between two reports, as Markdown for a comment on a pull request: the verdict, the moves, the gates."""

from __future__ import annotations

from collections.abc import Sequence

from reports.formats.markdown import SIGNS, gate_rows, inert, table
from reports.gate.baseline import described
from reports.gate.compare import Change
from reports.gate.verdict import exit_code
from reports.model.attempt_index import AttemptIndex
from reports.model.harmless import SENTENCES
from reports.model.numbers import figure
from reports.model.report import Report
from reports.text.headline import plain_verdict
from reports.text.phrases import verdict_sentence

NOISE = {
    "better": "no: better",
    "worse": "no: WORSE",
    "moved": "no: moved",
    "noise": "may be noise",
    "same": "unchanged",
    "unknown": "unknown",
}
"""What a move is, in words."""

_FIRST = ("worse", "better", "moved")
_MOST = 60
"""Rows; a comment takes 64 KiB."""


def render_moved(old: Report, new: Report, changes: Sequence[Change]) -> str:
    """The new report against the old one as GitHub-flavored Markdown.

    Args:
        old, new: the reports.
        changes: every metric of either.
    """
    rows = [
        (NOISE[found.verdict], inert(found.metric), inert(figure(found.old)), inert(figure(found.new)), apart(found))
        for word in _FIRST
        for found in changes
        if found.verdict == word
    ]
    counts = {word: sum(found.verdict == word for found in changes) for word in ("noise", "same", "unknown")}
    rest = ", ".join(f"{count} {NOISE[word]}" for word, count in counts.items() if count)
    left = [f"{len(rows) - _MOST} more moved", ""] if len(rows) > _MOST else []
    return "\n".join(
        [
            f"# {SIGNS[new.verdict]} {new.verdict.upper()}",
            "",
            f"{inert(verdict_sentence(new))}; exit code {exit_code(new.verdict, new.status)}. Before: {old.verdict}.",
            "",
            f"**{inert(plain_verdict(AttemptIndex(new)), SENTENCES)}**",
            "",
            *table("What moved", ("is it noise?", "metric", "before", "now", "difference"), rows[:_MOST]),
            *left,
            *([] if rows else ["Nothing moved beyond noise.", ""]),
            f"{inert(described(old, new), 400).capitalize()}. Each line is a test of its own at the 95 % level."
            + (f" The other numbers: {rest}." if rest else ""),
            "",
            *table("Gates", ("", "gate", "why", "where"), gate_rows(new)),
        ]
    )


def apart(found: Change) -> str:
    """The difference with its interval; empty if it is unknown."""
    if found.difference is None:
        return ""
    known = found.low is not None and found.high is not None and not found.same
    return f"{found.difference:+.3f}" + (f" [{found.low:+.3f}, {found.high:+.3f}]" if known else "")
