"""Where a report comes from: its settings and its provenance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reports.model.report import Report


def settings(report: Report) -> list[tuple[str, str, bool]]:
    """Every option with its value, and whether it was passed."""
    asked = report.command.settings
    every = {**asked.with_defaults, **{k: v for k, v in asked.passed.items() if k not in asked.with_defaults}}
    return [(name, shown(asked.passed.get(name, every[name])), name in asked.passed) for name in sorted(every)]


def provenance(report: Report) -> list[tuple[str, str]]:
    """Where and when the report was made, and digests that identify what went in."""
    seen, data, release = report.provenance, report.dataset, report.release
    changed = {None: "", True: ", with uncommitted changes", False: ""}[seen.dirty]
    took = None if seen.duration_s is None else f"{seen.duration_s:,.0f} s"
    facts = [
        ("report", report.digest),
        ("tool", f"{report.tool.name} {report.tool.version}"),
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


def shown(value: Any) -> str:
    """A setting as text."""
    if value is None or value == [] or value == {}:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
