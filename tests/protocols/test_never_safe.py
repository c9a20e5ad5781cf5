"""Endings that would look like success: an adversary that leaves, a cache that is no folder, a target that is none."""

import json
import os
import stat
from pathlib import Path

import pytest

from adversaries.attacks.label.frozen.model import Frozen
from protocols.engine.settings import overrides_of
from protocols.engine.task import Outcome
from protocols.evaluation.results import Attempt
from reports.model.files import write_all
from tests.protocols.builders import board, chosen, enter, fill
from vfc.errors import UserError


@pytest.mark.parametrize("error", [SystemExit(0), UserError("expected this", "do that"), MemoryError()])
def test_an_adversary_that_ends_the_program_fails_alone_and_no_gate_holds(vfc, monkeypatch, error):
    def leave(*_):
        raise error

    monkeypatch.setattr(Frozen, "fit", leave)
    code, _, _ = vfc("attack", "--protocol", "transfer", "--out", "o", "--gate", "transfer.accuracy <= 0.999")
    assert code == 3
    report = json.loads(Path("o/report.json").read_text())
    assert {row["status"] for row in report["evidence"] if row["adversary"] == "frozen"} == {"failed"}
    assert [gate["outcome"] for gate in report["gates"]] == ["inconclusive"]


@pytest.mark.parametrize(("release", "code", "outcome"), [("x", 0, "held"), ("x - x.mean(0)", 3, "inconclusive")])
def test_no_gate_of_a_release_that_depends_on_its_call_holds(vfc, tmp_path, release, code, outcome):
    (tmp_path / "f.py").write_text(
        "from torch import nn\nclass Own(nn.Module):\n    target = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
        f"    def forward(self, x):\n        return {release}\ndef build():\n    return Own()\n"
    )
    gates = ["transfer.accuracy <= 1", "target.accuracy <= 1", "release.compression >= 0.001"]
    asked = [word for gate in gates for word in ("--gate", gate)]
    ended, _, errors = vfc("attack", "--release", "f.py:build", "--protocol", "transfer", "--out", "o", *asked)
    assert ended == code, errors
    report = json.loads(Path("o/report.json").read_text())
    assert report["release"]["call_dependent"] is (code == 3)
    for flags in (report["release"]["health"], *(value["flags"] for value in report["metrics"].values())):
        assert ("CALL_DEPENDENT" in flags) is (code == 3)
    assert [found["outcome"] for found in report["gates"]] == [outcome] * 3


def test_a_cache_that_is_no_folder_is_one_line(vfc, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VFC_CACHE_DIR", str(tmp_path / "file"))
    code, _, errors = vfc("attack", "--protocol", "transfer", "--out", "o")
    assert code == 2
    assert "VFC_CACHE_DIR" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(("name", "value"), [("target", "3"), ("predict", "'all'")])
def test_a_factory_whose_intended_use_is_none_is_refused(vfc, tmp_path, name, value):
    (tmp_path / "f.py").write_text(
        f"from torch import nn\ndef build():\n    m = nn.Identity()\n    m.{name} = {value}\n    return m\n"
    )
    code, _, errors = vfc("attack", "--release", "f.py:build", "--protocol", "transfer", "--out", "o")
    assert code == 2
    assert name in errors
    # Nothing was finished there, so the corrected command needs no --fresh.
    (tmp_path / "g.py").write_text("from torch import nn\ndef build():\n    return nn.Identity()\n")
    code, _, errors = vfc("attack", "--release", "g.py:build", "--protocol", "transfer", "--out", "o")
    assert code == 0, errors


def test_a_choice_whose_control_crashed_is_not_made():
    b = board("a", "b")
    first = fill(b, 0, attack=0.9, shuffled=0.5)
    second = fill(b, 1, attack=0.7, shuffled=0.5)
    assert chosen(b, [first, second]) == first
    enter(b, Attempt(0, "all"), "shuffled", Outcome.empty("failed", "boom"))
    assert chosen(b, [first, second]) == second
    assert b.results.crashed([first, second])


@pytest.mark.parametrize("table", [3, "linear.steps=3", ["linear.steps=3"]])
def test_a_set_that_is_no_table_is_an_error(table):
    with pytest.raises(UserError, match="table"):
        overrides_of(table)


def test_a_set_table_may_nest_and_the_command_line_adds_to_it(monkeypatch, tmp_path):
    assert overrides_of({"linear": {"iterations": 3}, "train.steps": 4, "vfc": {"mask": "kl"}}) == {
        "linear.iterations": 3, "train.steps": 4, "vfc.mask": "kl",
    }  # fmt: skip
    from protocols import cli

    seen = []
    monkeypatch.setattr("protocols.commands.attack.run_attack", lambda settings, *_: seen.append(settings) or 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vfc.toml").write_text("[set.linear]\niterations = 7\n[set.train]\nsteps = 9\n")
    assert cli.run(["attack", "--set", "train.steps=10"]) == 0
    assert dict(seen[0].overrides) == {"linear.iterations": 7, "train.steps": 10}


@pytest.mark.parametrize("metric", ["adaptive.accuracy@10", "adaptive.labels_to_90"])
def test_a_gate_that_the_threat_level_cannot_produce_is_refused(vfc, metric):
    code, _, errors = vfc("attack", "--threat", "L1", "--gate", f"{metric} <= 1", "--out", "o")
    assert code == 2
    assert metric in errors


def test_what_is_no_file_stays_what_it_is(tmp_path):
    real = tmp_path / "real.html"
    real.write_text("old")
    link = tmp_path / "link.html"
    link.symlink_to(real)
    write_all({link: b"new"})
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_all({tmp_path / "pipe": b"through"})
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)
