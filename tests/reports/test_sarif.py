"""SARIF: the rules of the official schema, anchors, suppressions, and hostile names."""

import json

import pytest

from reports.formats.sarif import render_sarif
from reports.model.report import Source, Waiver
from tests.reports.builder import build, row
from tests.reports.hostile import gate, hostile
from tests.reports.json_rules import problems


def _object(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


def _array(items, **more):
    return {"type": "array", "items": items, **more}


def _ref(name):
    return {"$ref": f"#/$defs/{name}"}


_TEXT, _WHOLE = {"type": "string"}, {"type": "integer"}
_BAG = {
    "type": "object",
    "additionalProperties": True,
    "properties": {"tags": _array(_TEXT, minItems=0, uniqueItems=True)},
}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
# The rules of sarif-schema-2.1.0.json for every kind of object that is written here: allowed and required properties,
# types, enumerations and bounds (OASIS, SARIF 2.1.0 Errata 01, sections 3.13 to 3.58). Its rules that allow everything
# (`minItems` 0, `uniqueItems` false) are left out; its formats, uri and uri-reference, are tested below.
RULES = _object(
    ("version", "runs"), **{"$schema": _TEXT, "version": {"enum": ["2.1.0"]}, "runs": _array(_ref("run"), minItems=0)}
)
RULES["$defs"] = {
    "run": _object(
        ("tool",),
        tool=_object(("driver",), driver=_ref("component"), properties=_BAG),
        invocations=_array(_ref("invocation")),
        columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        results=_array(_ref("result")),
        properties=_BAG,
    ),
    "component": _object(
        ("name",), name=_TEXT, version=_TEXT, rules=_array(_ref("descriptor"), uniqueItems=True), properties=_BAG
    ),
    "descriptor": _object(
        ("id",), id=_TEXT, name=_TEXT, shortDescription=_ref("multiformat"), fullDescription=_ref("multiformat"),
        help=_ref("multiformat"), helpUri=_TEXT, defaultConfiguration=_object((), level=_LEVEL), properties=_BAG,
    ),
    "multiformat": _object(("text",), text=_TEXT, markdown=_TEXT),
    "message": {**_object((), text=_TEXT, markdown=_TEXT, id=_TEXT, arguments=_array(_TEXT)), "anyOf": [
        {"required": ["text"]}, {"required": ["id"]}]},
    "result": _object(
        ("message",), ruleId=_TEXT, ruleIndex={**_WHOLE, "minimum": -1}, level=_LEVEL, message=_ref("message"),
        kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
        locations=_array(_ref("location")), partialFingerprints={"type": "object", "additionalProperties": _TEXT},
        suppressions=_array(_ref("suppression"), uniqueItems=True), properties=_BAG,
    ),
    "suppression": _object(
        ("kind",), kind={"enum": ["inSource", "external"]}, status={"enum": ["accepted", "underReview", "rejected"]},
        justification=_TEXT,
    ),
    "location": _object(
        (), physicalLocation=_ref("physical"), logicalLocations=_array(_ref("logical"), uniqueItems=True)
    ),
    "physical": {
        **_object((), artifactLocation=_object((), uri=_TEXT, uriBaseId=_TEXT), region=_ref("region")),
        "anyOf": [{"required": ["address"]}, {"required": ["artifactLocation"]}],
    },
    "region": _object((), startLine={**_WHOLE, "minimum": 1}),
    "logical": _object((), name=_TEXT, fullyQualifiedName=_TEXT, kind=_TEXT),
    "invocation": _object(
        ("executionSuccessful",), executionSuccessful={"type": "boolean"}, exitCode=_WHOLE,
        toolExecutionNotifications=_array(_ref("notification")), properties=_BAG,
    ),
    "notification": _object(("message",), level=_LEVEL, message=_ref("message")),
}  # fmt: skip


def rendered(report):
    log = json.loads(render_sarif(report))
    assert problems(log, RULES, RULES) == []
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        # A level other than none goes with the kind fail only (3.27.10).
        assert result["kind"] == "fail"
    return run


def test_the_rules_of_the_schema_catch_mistakes():
    log = json.loads(render_sarif(build(gates=(gate("adaptive.leakage <= 0.5", "broken"),), verdict="broken")))
    result = log["runs"][0]["results"][0]
    for key, wrong in (("level", "fatal"), ("kind", "broken"), ("message", {}), ("ruleIndex", -2), ("extra", 1)):
        broken = {**log, "runs": [{**log["runs"][0], "results": [{**result, key: wrong}]}]}
        assert problems(broken, RULES, RULES), key
    assert problems({"version": "2.0.0", "runs": []}, RULES, RULES)


GOLDEN = {
    "ruleId": "membership.advantage",
    "ruleIndex": 0,
    "kind": "fail",
    "level": "error",
    "message": {"text": "membership.advantage <= 0.1 is broken: too high."},
    "locations": [
        {
            "physicalLocation": {"artifactLocation": {"uri": "conf/my%20vfc.toml"}, "region": {"startLine": 7}},
            "logicalLocations": [{"fullyQualifiedName": "membership.advantage", "kind": "member"}],
        }
    ],
    "properties": {"outcome": "broken"},
}


def test_golden_result_at_the_line_of_the_config():
    source = Source(file="conf/my vfc.toml", line=7)
    report = build(gates=(gate("membership.advantage <= 0.1", "broken", reason="too high", source=source),))
    run = rendered(report)
    (result,) = run["results"]
    assert len(result.pop("partialFingerprints")["vfcGate/v1"]) == 64
    assert result == GOLDEN
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["properties"]["tags"] == ["privacy", "OWASP AISVS 11.3.3", "MITRE ATLAS AML.T0024.000"]
    assert rule["fullDescription"]["text"].startswith("True minus false positive rate")
    assert render_sarif(report) == render_sarif(report.model_copy())


@pytest.mark.parametrize(
    ("outcome", "facts", "levels"),
    [
        ("held", {}, []),
        ("broken", {}, ["error"]),
        ("inconclusive", {}, ["warning"]),
        ("broken", {"level": "warn"}, ["note"]),
        ("inconclusive", {"level": "warn"}, ["note"]),
    ],
)
def test_levels(outcome, facts, levels):
    run = rendered(build(gates=(gate("adaptive.leakage <= 0.5", outcome, **facts),)))
    assert [result["level"] for result in run["results"]] == levels


def test_waivers_are_suppressions_while_they_count():
    for active in (True, False):
        waiver = Waiver(until="2030-01-01", reason="soon", active=active)
        (result,) = rendered(build(gates=(gate("adaptive.leakage <= 0.5", "broken", waiver=waiver),)))["results"]
        assert ("suppressions" in result) == active
        assert "soon" in result["message"]["text"]


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("/etc/vfc.toml", "vfc.toml"),
        ("../../etc/vfc.toml", "vfc.toml"),
        ("a/../../vfc.toml", "vfc.toml"),
        ("C:\\work\\vfc.toml", "vfc.toml"),
        ("file:///etc/passwd", "passwd"),
        ("..", "README.md"),
        ("", "README.md"),
        ("./conf//vfc.toml", "conf/vfc.toml"),
    ],
)
def test_uris_stay_inside_the_repository(file, uri):
    source = Source(file=file, line=1)
    (result,) = rendered(build(gates=(gate("membership.advantage <= 0.1", "broken", source=source),)))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_adversaries_that_failed_are_notifications():
    run = rendered(build(evidence=(row(), row("mlp", "failed"), row("cnn", "not_run"), row("knn", "not_applicable"))))
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    assert [item["level"] for item in invocation["toolExecutionNotifications"]] == ["error", "warning"]
    assert rendered(build())["invocations"][0] == {
        "executionSuccessful": True, "exitCode": 0, "toolExecutionNotifications": [],
    }  # fmt: skip


def check_hostile(text):
    run = rendered(hostile(text))

    def texts(data):
        if isinstance(data, str):
            yield data
        for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            yield from texts(item)

    assert all(part.isprintable() and len(part) < 5000 for part in texts(run))
    for result in run["results"]:
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.isascii()
        assert not set(uri) & set('<>"{}|\\^` :')
