"""The report's files: whole, canonical, and noticing every change."""

import json

import numpy as np
import pytest
from pydantic import ValidationError

from adversaries.evidence import Value
from reports.model.report import Command, Provenance, Report, Settings
from reports.model.storage import digest, dump, load, load_rows, sealed, write
from tests.reports.builder import build, row
from vfc.errors import UserError

KEYS = [
    "schema",
    "digest",
    "tool",
    "command",
    "provenance",
    "dataset",
    "release",
    "target",
    "evidence",
    "metrics",
    "calibration",
    "gates",
    "verdict",
]


def test_top_level_keys_are_those_of_the_contract():
    content = json.loads(dump(build()))
    assert sorted(content) == sorted(KEYS)
    assert content["schema"] == 1
    assert sorted(content["evidence"][0]) == sorted(
        [
            "protocol",
            "adversary",
            "goal",
            "threat",
            "seed",
            "status",
            "reason",
            "arms",
            "metrics",
            "health",
            "chosen",
            "cost",
            "settings",
        ]
    )
    assert sorted(content["dataset"]) == sorted(
        ["name", "digest", "task", "classes", "split", "split_seed", "parts", "duplicates_removed"]
    )
    released = {"kind", "name", "digest", "shape", "dtype", "bounds", "stochastic", "call_dependent", "settings"}
    assert released <= set(content["release"])


def test_writing_and_loading_gives_the_same_report(tmp_path):
    report = build()
    rows = {"leak": np.array([[True, False], [False, False], [True, True]]), "psnr": np.array([20.0, 21.5])}
    path = write(report, rows, tmp_path / "out")
    loaded = load(path)
    assert loaded == sealed(report)
    assert load(tmp_path / "out") == loaded
    assert dump(loaded) == path.read_bytes()
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.json", "report.safetensors"]
    again = load_rows(path, loaded)
    assert set(again) == {"leak", "psnr"}
    assert (again["leak"] == rows["leak"]).all()
    assert again["leak"].dtype == bool


def test_equal_runs_have_equal_digests():
    settings = Settings(passed={"out": "b", "quiet": True}, with_defaults={"out": "b", "no-cache": False, "seed": 0})
    twin = build(
        provenance=Provenance(python="3.12", duration_s=9.0),
        command=Command(argv=("vfc-attack",), settings=Settings(with_defaults=settings.with_defaults)),
        evidence=(row(seconds=5.0),),
    )
    assert digest(twin) == digest(build())


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "inconclusive"},
        {"metrics": {}},
        {"evidence": (row("mlp"),)},
        {"command": Command(settings=Settings(with_defaults={"seed": 1}))},
    ],
)
def test_runs_that_differ_have_different_digests(change):
    assert digest(build(**change)) != digest(build())


def test_reports_refuse_unknown_keys_changes_and_numbers_that_are_not_finite():
    with pytest.raises(ValidationError):
        build(surprise=1)
    with pytest.raises(ValidationError):
        build().verdict = "held"
    with pytest.raises(ValidationError):
        Value(value=float("nan"), low=0, high=1)
    with pytest.raises(ValueError, match="Out of range float"):
        dump(build(command=Command(settings=Settings(with_defaults={"lr": float("inf")}))))
    assert Report.model_json_schema(by_alias=True)["properties"]["schema"]["const"] == 1


def edited(path, change):
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["metrics"]["adaptive.suppression_ratio"].update(low=5.0, value=6.0, high=7.0), "changed by hand"),
        (lambda c: c.update(verdict="held"), "changed by hand"),
        (lambda c: c["evidence"].clear(), "changed by hand"),
        (lambda c: c.update(digest=""), "got none"),
        (lambda c: c.update(schema=2), "schema 1, got schema 2"),
        (lambda c: c.update(schema="1"), "without a schema number"),
        (lambda c: c.update(extra=1), "extra: Extra inputs"),
        (lambda c: c.pop("release"), "release: Field required"),
        (lambda c: c["evidence"][0].update(status="fine"), r"evidence\.0\.status"),
    ],
)
def test_a_changed_report_is_refused(tmp_path, change, message):
    path = write(build(), {}, tmp_path)
    edited(path, change)
    with pytest.raises(UserError, match=message):
        load(path)


def test_cost_and_provenance_may_be_stripped(tmp_path):
    path = write(build(), {}, tmp_path)
    edited(path, lambda c: (c.update(provenance={}), c["evidence"][0].update(cost={})))
    assert load(path).metrics == build().metrics


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b'{"schema": 1, "digest": "ab', "truncated"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[1, 2]", "without a schema number"),
        (b'{"schema": NaN}', "NaN, which is no JSON number"),
        (b"[" * 100_000, "expected JSON"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, content, message):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(path)


def test_a_missing_report_and_missing_or_foreign_rows_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "report.json")
    path = write(build(), {"a": np.zeros(3)}, tmp_path / "one")
    other = write(build(verdict="inconclusive"), {"a": np.ones(3)}, tmp_path / "two")
    sidecar, report = path.with_suffix(".safetensors"), load(path)
    sidecar.write_bytes(other.with_suffix(".safetensors").read_bytes())
    with pytest.raises(UserError, match="got those of"):
        load_rows(path, report)
    sidecar.write_bytes(b"short")
    with pytest.raises(UserError, match="expected the per-target rows"):
        load_rows(path, report)
    sidecar.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_rows(path, report)
    assert load(path) == report


def test_a_failed_write_leaves_the_old_report(tmp_path):
    path = write(build(), {}, tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float"):
        write(build(command=Command(settings=Settings(passed={"lr": float("nan")}))), {}, tmp_path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
