"""The published schema describes what is written."""

import json

import pytest

from reports.model.schema import render_schema
from reports.model.storage import dump
from tests.reports.builder import build, row
from tests.reports.hostile import hostile
from tests.reports.json_rules import problems

SCHEMA = json.loads(render_schema())


def test_reports_fit_the_schema():
    for report in (build(), hostile("x"), build(evidence=(row("mlp", "failed"),))):
        assert problems(json.loads(dump(report)), SCHEMA, SCHEMA) == []
    assert render_schema() == render_schema()
    assert SCHEMA["$schema"].endswith("2020-12/schema")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2}, {"verdict": "fine"}, {"extra": 1}, {"evidence": {}}, {"dataset": None}, {"metrics": {"a": 1}},
        {"gates": [{"expr": "x"}]},
    ],
)  # fmt: skip
def test_what_is_no_report_does_not(change):
    assert problems({**json.loads(dump(build())), **change}, SCHEMA, SCHEMA)


def test_every_key_of_the_contract_is_there():
    assert "status" not in SCHEMA["required"]  # only reports of interrupted runs have it
    assert set(SCHEMA["properties"]) - {"status"} == {
        "schema", "digest", "tool", "command", "provenance", "dataset", "release", "target", "evidence", "metrics",
        "calibration", "gates", "verdict",
    }  # fmt: skip
