"""JUnit: golden text, outcomes as CI servers read them, and hostile names."""

import xml.etree.ElementTree as ET

import pytest

from reports.formats.junit import render_junit
from reports.model.report import Waiver
from tests.reports.builder import build, row
from tests.reports.hostile import gate, hostile

GOLDEN = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="vfc" tests="2" failures="1" errors="0" skipped="1">
  <testsuite name="gates" tests="1" failures="1" errors="0" skipped="0" timestamp="2026-01-02T03:04:05+00:00">
    <testcase classname="vfc.gate" name="evasion.accuracy@8/255 &gt;= 3">
      <properties><property name="identifiers" value="OWASP AISVS 11.2.5; MITRE ATLAS AML.T0015"/></properties>
      <failure message="evasion.accuracy@8/255 &gt;= 3 is broken: too &quot;low&quot;"/>
    </testcase>
  </testsuite>
  <testsuite name="adversaries of adaptive-probe" tests="1" failures="0" errors="0" skipped="1" \
timestamp="2026-01-02T03:04:05+00:00">
    <testcase classname="vfc.adaptive-probe" name="mlp task:digit seed 0">
      <skipped message="no labels"/>
    </testcase>
  </testsuite>
</testsuites>
"""


def test_golden():
    report = build(
        provenance=build().provenance.model_copy(update={"started": "2026-01-02T03:04:05+00:00"}),
        evidence=(row(), row("mlp", "not_applicable").model_copy(update={"reason": "no labels"})),
        gates=(gate("evasion.accuracy@8/255 >= 3", "broken", reason='too "low"'),),
        verdict="broken",
    )
    assert render_junit(report) == GOLDEN
    assert render_junit(report) == render_junit(report.model_copy())


def elements(report, suite="gates"):
    root = ET.fromstring(render_junit(report))
    found = {case.get("name"): [child.tag for child in case] for case in root.iterfind(f"testsuite[@name='{suite}']/*")}
    return root, found


@pytest.mark.parametrize(
    ("outcome", "facts", "element"),
    [
        ("broken", {}, "failure"),
        ("inconclusive", {}, "error"),
        ("held", {}, "system-out"),
        ("broken", {"level": "warn"}, "skipped"),
        ("inconclusive", {"level": "warn"}, "skipped"),
        ("held", {"level": "warn"}, "system-out"),
        ("broken", {"waiver": Waiver(until="2030-01-01", reason="soon", active=True)}, "skipped"),
        ("broken", {"waiver": Waiver(until="2020-01-01", reason="late", active=False)}, "failure"),
        ("inconclusive", {"waiver": Waiver(until="2020-01-01", reason="late", active=False)}, "error"),
    ],
)
def test_outcomes_are_elements(outcome, facts, element):
    report = build(gates=(gate("adaptive.leakage <= 0.5", outcome, **facts),), verdict=outcome)
    _, found = elements(report)
    assert found["adaptive.leakage <= 0.5"] == ["properties", element]
    if "waiver" in facts:
        assert facts["waiver"].reason in render_junit(report)


def test_adversaries_that_were_not_measured_are_errors_or_skipped():
    report = build(evidence=tuple(row(state, state) for state in ("measured", "failed", "not_run", "not_applicable")))
    root, found = elements(report, "adversaries of adaptive-probe")
    assert list(found.values()) == [["error"], ["error"], ["skipped"]]
    assert (root.get("tests"), root.get("errors"), root.get("skipped")) == ("4", "2", "2")


def test_nothing_passes_but_a_gate_that_holds():
    """An attack that reads 94 % is no test that passed."""
    for report, passed in ((build(), 0), (build(gates=(gate("target.accuracy >= 1", "held"),), verdict="held"), 1)):
        cases = list(ET.fromstring(render_junit(report)).iter("testcase"))
        ends = [{child.tag for child in case} & {"failure", "error", "skipped"} for case in cases]
        assert ends.count(set()) == passed


def test_a_verdict_that_no_gate_explains_has_its_own_case():
    report = build(gates=(gate("adaptive.leakage <= 0.5", "held"),), verdict="inconclusive")
    assert elements(report, "verdict")[1] == {"verdict": ["error"]}
    assert elements(build(verdict="measured"), "verdict")[1] == {"verdict": ["skipped"]}
    assert "verdict" not in elements(build(gates=(gate("target.accuracy >= 1", "broken"),), verdict="broken"))[1]


def check_hostile(text):
    root = ET.fromstring(render_junit(hostile(text)).encode())
    assert {item.tag for item in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "properties", "property", "failure", "error", "skipped", "system-out",
    }  # fmt: skip
    texts = [value for item in root.iter() for value in (*item.attrib.values(), (item.text or "").strip())]
    assert all(part.isprintable() for part in texts)
