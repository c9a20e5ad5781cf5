"""The pytest plugin: gates as tests, properties in JUnit XML, no torch while collecting."""

import importlib.metadata
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from vfc.errors import UserError
from vfc.pytest_plugin import assert_suppressed, attacked

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest
from vfc.pytest_plugin import assert_suppressed

OPTIONS = dict(dataset="gaussian", unintended=("mlp",), width=0.25, protocols=("transfer",),
               overrides=(("train.steps", 60),))


def hidden():
    from vfc.defenses.nulls.pure_noise import PureNoise
    return PureNoise()


def test_leaks():
    assert_suppressed("identity", gates=["transfer.accuracy <= 0.55"], **OPTIONS)


def test_measures(vfc_report):
    report = vfc_report("identity", **OPTIONS)
    assert report.metrics["transfer.accuracy"].value > 0.8
    assert vfc_report("identity", **OPTIONS) is report
"""


def call(folder, *arguments, **environment):
    entry = {point.value for point in importlib.metadata.entry_points(group="pytest11")}
    plugin = [] if "vfc.pytest_plugin" in entry else ["-p", "vfc.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VFC_CACHE_DIR": str(folder / "cache"), **environment},
    )  # fmt: skip


def test_failing_and_passing_tests_and_their_junit(tmp_path):
    (tmp_path / "test_defense.py").write_text(TESTS)
    # A policy of the working folder is no business of a test.
    (tmp_path / "vfc.toml").write_text("[policy]\ngates = ['adaptive.leakage <= 0.1']\n")
    done = call(tmp_path, "--junitxml", "out.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "broken: transfer.accuracy <= 0.55" in done.stdout
    cases = {case.get("name"): case for case in ET.parse(tmp_path / "out.xml").getroot().iter("testcase")}
    assert cases["test_leaks"].find("failure") is not None
    properties = {item.get("name"): item.get("value") for item in cases["test_measures"].iter("property")}
    assert (properties["vfc.release"], properties["vfc.verdict"]) == ("identity", "measured")
    assert len(properties["vfc.digest"]) == 64


def test_collecting_imports_no_torch(tmp_path):
    (tmp_path / "test_defense.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(
        "import sys\n\n\ndef pytest_collection_finish(session):\n"
        "    assert len(session.items) == 2\n    heavy = {'torch', 'pydantic', 'reports'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = call(tmp_path, "--collect-only")
    assert done.returncode == 0, done.stdout + done.stderr


def test_mistakes_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected a gate"):
        assert_suppressed("identity", gates=[])
    with pytest.raises(UserError, match="did you mean 'dataset'"):
        attacked("identity", datset="digits")
    with pytest.raises(UserError, match="did you mean 'identity'"):
        attacked("identiti", protocols=("transfer",))
    for wrong in (lambda: None, 3, object()):
        with pytest.raises(UserError, match="top of a module"):
            attacked(wrong)


def test_a_function_is_a_defense(monkeypatch):
    from vfc import pytest_plugin

    seen = []
    monkeypatch.setattr("protocols.commands.attack.run_attack", lambda settings, *_: seen.append(settings))
    monkeypatch.setattr("reports.model.storage.load", lambda _: None)
    pytest_plugin.attacked(call, gates=("transfer.accuracy <= 0.5", "target.accuracy >= 0.5"))
    pytest_plugin.attacked("vfc", gates=("adaptive.leakage <= 0.5",), budget="full")
    assert seen[0].release == f"{Path(__file__)}:call"
    assert [(one.protocols, one.budget) for one in seen] == [(("transfer",), "smoke"), ((), "full")]
