"""The report as SARIF 2.1.0, the format of code-scanning services.

One rule per gate's metric; one result per gate that is not held, anchored to the line of the config file that asks for
it. Broken is an error, inconclusive a warning, a gate of level warn a note; a waiver is a suppression. Adversaries that
failed or were not run are notifications of the tool.
Source: OASIS 2023, Static Analysis Results Interchange Format (SARIF) Version 2.1.0 Plus Errata 01.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote

from reports.gate.verdict import exit_code
from reports.model.catalog import lookup
from reports.model.harmless import clean
from reports.model.report import Report
from reports.text.findings import Finding, adversaries, gate_findings, waiver_words
from reports.text.phrases import verdict_sentence
from vfc.errors import UserError

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def render_sarif(report: Report) -> str:
    """The report as SARIF; equal reports give equal text.

    Args:
        report: what was measured.
    """
    findings = gate_findings(report)
    rules = {finding.metric: _rule(finding) for finding in findings}
    places = list(rules)
    results = [_result(f, places.index(f.metric), report) for f in findings if f.result.outcome != "held"]
    run = {
        "tool": {
            "driver": {
                "name": clean(report.tool.name),
                "version": clean(report.tool.version),
                "rules": list(rules.values()),
            }
        },
        "invocations": [_invocation(report)],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {
            "verdict": report.verdict,
            "meaning": clean(verdict_sentence(report)),
            "digest": clean(report.digest),
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rule(finding: Finding) -> dict[str, Any]:
    try:
        meaning = lookup(finding.metric).meaning
    except UserError:
        meaning = "a metric that this version does not know"
    tags = ["privacy", *(entry.label for entry in finding.ids)]
    sources = "; ".join(f"{entry.label}, {entry.title}: {entry.source}" for entry in finding.ids)
    return {
        "id": finding.metric,
        "shortDescription": {"text": f"Limit on {finding.metric}"},
        "fullDescription": {"text": f"{meaning[0].upper()}{meaning[1:]}."},
        "help": {"text": f"{meaning[0].upper()}{meaning[1:]}. {sources}".strip()},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": tags},
    }


def _result(finding: Finding, place: int, report: Report) -> dict[str, Any]:
    result = finding.result
    level = "note" if result.level == "warn" else "error" if result.outcome == "broken" else "warning"
    mark = hashlib.sha256(f"{result.expr}\0{report.release.name}\0{report.dataset.name}".encode("utf-8", "replace"))
    shown: dict[str, Any] = {
        "ruleId": finding.metric,
        "ruleIndex": place,
        "kind": "fail",
        "level": level,
        "message": {"text": f"{finding.message}."},
        "locations": [_location(finding, report)],
        "partialFingerprints": {"vfcGate/v1": mark.hexdigest()},
        "properties": {"outcome": result.outcome},
    }
    if result.waiver is not None and result.waiver.active:
        shown["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": clean(waiver_words(result))}
        ]
    return shown


def _location(finding: Finding, report: Report) -> dict[str, Any]:
    """The line that asks for the gate; for one of the command line the file of the defense.

    Services drop what points outside of the repository, and no report is in there.
    """
    source = finding.result.source
    file, line = (source.file, max(1, source.line)) if source is not None else (_defense_file(report), 1)
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(clean(_inside(file)), safe="/")},
            "region": {"startLine": line},
        },
        "logicalLocations": [{"fullyQualifiedName": finding.metric, "kind": "member"}],
    }


def _defense_file(report: Report) -> str:
    """The file of the factory that was attacked; the README stands for a defense without one."""
    text = str(report.command.settings.with_defaults.get("release") or "")
    source, colon, attribute = text.rpartition(":")
    if report.release.kind != "factory" or not colon or not attribute:
        return "README.md"
    return source if source.endswith(".py") else f"{source.replace('.', '/')}.py"


def _inside(file: str) -> str:
    """A path inside the repository: whatever is absolute or leads out of it is shown by its last part alone."""
    parts = [part for part in re.split(r"[/\\]+", file) if part not in ("", ".")]
    outside = file.startswith(("/", "\\")) or ".." in parts or ":" in file
    kept = parts[-1:] if outside else parts
    return "/".join(part for part in kept if part != "..") or "README.md"


def _invocation(report: Report) -> dict[str, Any]:
    missing = [entry for entry in adversaries(report) if entry[2] in ("failed", "not_run")]
    return {
        "executionSuccessful": not missing,
        "exitCode": exit_code(report.verdict, report.status),
        "toolExecutionNotifications": [
            {
                "level": "error" if status == "failed" else "warning",
                "message": {"text": f"{name} of {protocol} {status.replace('_', ' ')}: {reason}."},
            }
            for protocol, name, status, reason in missing
        ],
    }
