"""The report as JUnit XML: a suite of gates, and per protocol the adversaries that did not come to measure.

Broken is a failure, inconclusive an error, not applicable is skipped. A gate that is not held but waived, or only a
warning, is skipped with its message, so that it stays visible without failing the job. Only a gate that holds passes:
an attack that was measured is no test, whatever it reads, and a report without gates has nothing that could pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from reports.model.attempt_index import AttemptIndex
from reports.model.harmless import SENTENCES, clean
from reports.model.report import Report
from reports.text.findings import Finding, adversaries, gate_findings
from reports.text.headline import plain_verdict
from reports.text.phrases import verdict_sentence

_QUOTES = {'"': "&quot;", "\n": "&#10;", "\t": "&#9;"}

Case = tuple[str, str, str, str, str]
"""Class, name, element (failure, error, skipped or none), message, and the properties' text."""


def render_junit(report: Report) -> str:
    """The report as JUnit XML; equal reports give equal text.

    Args:
        report: what was measured.
    """
    suites = {"gates": [_gate(finding) for finding in gate_findings(report)]}
    # Where no gate says so, the verdict has a case of its own: a required adversary may be missing.
    if report.verdict not in {gate.outcome for gate in report.gates if gate.decides}:
        suites["verdict"] = [_verdict(report)]
    for protocol, name, status, reason in adversaries(report):
        if status != "measured":
            element = "skipped" if status == "not_applicable" else "error"
            suites.setdefault(f"adversaries of {protocol}", []).append((f"vfc.{protocol}", name, element, reason, ""))
    parts = [_suite(name, cases, report.provenance.started) for name, cases in suites.items() if cases]
    counts = _counts(case for cases in suites.values() for case in cases)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="vfc" {counts}>\n{"".join(parts)}</testsuites>\n'


def _gate(finding: Finding) -> Case:
    element = {"broken": "failure", "inconclusive": "error", "held": ""}[finding.result.outcome]
    ids = "; ".join(entry.label for entry in finding.ids)
    return "vfc.gate", finding.expr, "skipped" if finding.excused else element, finding.message, ids


def _verdict(report: Report) -> Case:
    element = {"broken": "failure", "inconclusive": "error", "measured": "skipped"}.get(report.verdict, "")
    plain = clean(plain_verdict(AttemptIndex(report)), longest=SENTENCES)
    said = f"{report.verdict}: {clean(verdict_sentence(report))}. {plain}"
    return "vfc", "verdict", element, said, ""


def _suite(name: str, cases: list[Case], started: str | None) -> str:
    stamp = f' timestamp="{_quoted(clean(started))}"' if started else ""
    body = "".join(map(_case, cases))
    return f'  <testsuite name="{_quoted(name)}" {_counts(cases)}{stamp}>\n{body}  </testsuite>\n'


def _case(case: Case) -> str:
    where, name, element, message, ids = case
    head = f'    <testcase classname="{_quoted(where)}" name="{_quoted(name)}"'
    inside = ""
    if ids:
        inside += f'      <properties><property name="identifiers" value="{_quoted(ids)}"/></properties>\n'
    if element:
        inside += f'      <{element} message="{_quoted(message)}"/>\n'
    elif where == "vfc.gate":
        inside += f"      <system-out>{escape(message)}</system-out>\n"
    return f"{head}>\n{inside}    </testcase>\n" if inside else f"{head}/>\n"


def _counts(cases: Iterable[Case]) -> str:
    elements = [element for _, _, element, _, _ in cases]
    numbers = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    return f'tests="{len(elements)}" ' + " ".join(f'{k}="{elements.count(v)}"' for k, v in numbers.items())


def _quoted(text: str) -> str:
    return escape(text, _QUOTES)
