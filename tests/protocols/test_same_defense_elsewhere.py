"""One defense gives one report, wherever its file lies, in whichever process, and however its comments change."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from protocols.engine import budget
from protocols.engine.identity import code_of_factory, content_of
from protocols.engine.settings import Settings
from vfc.factory import resolve

HELPER = "SCALE = 0.5\n"
FACTORY = '''
import torch
from torch import nn
from helper import SCALE


class Own(nn.Module):
    """Random weights, noise in every release, and a fit that leaves no trace in the state."""

    stochastic = True

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(64, 64)
        self.target = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
        self.brightest = 1.0

    def fit(self, images, labels):
        self.brightest = float(images.amax()) + float(torch.rand(()))

    def forward(self, x):
        mixed = self.mix(x.flatten(1)).reshape(x.shape) * self.brightest
        return mixed + SCALE * torch.randn_like(x)


def build():
    return Own().requires_grad_(False)
'''


def write(folder, factory=FACTORY, helper=HELPER, name="own.py"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(factory)
    (folder / "helper.py").write_text(helper)
    return folder / name


def measured(vfc, monkeypatch, folder, file, data):
    """Everything of a report but the command, and the arrays of its sidecar."""
    monkeypatch.setitem(budget.BUDGETS, "smoke", replace(budget.BUDGETS["standard"], name="smoke", shadows=2))
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    code, _, error = vfc(
        "attack", "--release", f"{file}:build", "--protocol", "membership", "--quiet",
        "--unintended", "mlp", "--width", "0.25", "--executor", "local", "--set", "train.steps=10", "--budget", "smoke",
        "--dataset", f"npz:{data}", "--task", "side", "--out", folder / "out", quick=False,
    )  # fmt: skip
    assert code == 0, error
    report = json.loads((folder / "out" / "report.json").read_text())
    for row in report["evidence"]:
        row.pop("cost")
    kept = {name: part for name, part in report.items() if name not in ("provenance", "command")}
    return kept, load_file(folder / "out" / "report.safetensors")


def test_neither_folder_nor_an_edit_of_our_own_code_changes_a_number_and_a_comment_only_the_identity(
    vfc, tmp_path, monkeypatch, small_npz
):
    found = []
    for position, name in enumerate(("here", "a longer path/there", "commented")):
        folder = tmp_path / name
        file = write(folder, FACTORY + "\n# Nothing to see.\n" * (name == "commented"))
        data = folder / "small.npz"
        data.write_bytes(small_npz.read_bytes())
        monkeypatch.chdir(folder)
        ours = hashlib.sha256(name.encode()).hexdigest()
        monkeypatch.setattr("protocols.engine.workspace.code_digest", lambda *_, ours=ours: ours)
        # Once by its name alone, then by its whole path.
        found.append(measured(vfc, monkeypatch, folder, file if position else "own.py", data))
        monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(folder)])
    (first, arrays), (second, others), (commented, _) = found
    assert first == second  # its digest too
    assert sorted(arrays) == sorted(others)
    assert all(np.array_equal(arrays[name], others[name]) for name in arrays)
    assert first["release"]["name"] == "own.py:build"
    assert str(tmp_path) not in json.dumps(first)
    measured_rows = [row for row in first["evidence"] if row["status"] == "measured"]
    assert len(measured_rows) >= 3
    assert commented["metrics"] == first["metrics"]
    assert commented["digest"] != first["digest"]


@pytest.mark.parametrize("change", ["place", "file name", "comment", "helper", "neighbour", "other factory"])
def test_a_factory_is_its_code_and_that_which_it_imports(tmp_path, change):
    here = resolve(f"{write(tmp_path / 'a')}:build")
    there = {
        "place": lambda: write(tmp_path / "b"),
        "file name": lambda: write(tmp_path / "b", name="other.py"),
        "comment": lambda: write(tmp_path / "b", FACTORY + "# more\n"),
        "helper": lambda: write(tmp_path / "b", helper="SCALE = 0.6\n"),
        "neighbour": lambda: [write(tmp_path / "b"), (tmp_path / "b" / "unused.py").write_text("x = 1\n")][0],
        "other factory": lambda: write(tmp_path / "b"),
    }[change]()
    other = resolve(f"{there}:{'Own' if change == 'other factory' else 'build'}")
    same = change in ("place", "file name", "neighbour")
    assert (content_of(here) == content_of(other)) is same


def test_a_module_is_its_whole_package(tmp_path, monkeypatch):
    package = tmp_path / "ownpackage"
    write(package, name="defense.py")
    (package / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    spec = resolve("ownpackage.defense:build")
    before = code_of_factory(spec)
    assert "ownpackage" not in sys.modules
    (package / "more.py").write_text("x = 1\n")
    assert code_of_factory(spec) != before


def test_a_run_is_named_by_what_its_files_hold():
    given = (("release", "factory build 123"), ("dataset", "npz 456"), ("run", "789"))
    here, there = (
        Settings(release=f"{place}/own.py:build", dataset=f"npz:{place}/x.npz", identity_extra=given)
        for place in ("/a", "/b")
    )
    assert here.digest() == there.digest()
    assert here.identity()["identity_extra"] == {"run": "789"}
    assert replace(here, identity_extra=()).digest() != replace(there, identity_extra=()).digest()


def test_a_module_in_a_process_of_its_own_is_the_same(tmp_path):
    """What a factory draws comes from the seed, and neither from the process nor from the order of sets."""
    file = write(tmp_path)
    code = (
        "import sys\nfrom protocols.engine.handles import made\nfrom protocols.engine.identity import fingerprint\n"
        "from vfc.factory import resolve\nprint(fingerprint(made(resolve(sys.argv[1]), 2, 7)))"
    )
    root = Path(__file__).resolve().parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", code, f"{file}:build"], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1
