"""Whole runs on small data: train, attack, gate, resume, third-party factories, saved arrays, and what goes wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from protocols.commands import ablate
from reports.model.storage import load, load_rows


def test_train_then_attack_then_gate_again(vfc, tmp_path):
    code, out, err = vfc("train", "--out", "run")
    assert code == 0, err
    assert "target cnn" in out
    code, _, err = vfc("attack", "--release", "run", "--out", "out", "--gate", "adaptive.accuracy <= 0.01")
    assert code == 1, err
    report = load(tmp_path / "out")
    assert report.verdict == "broken"
    assert report.release.kind == "folder"
    assert report.metrics["transfer.accuracy"].value is not None
    assert {row.status for row in report.evidence} <= {"measured", "not_applicable"}
    for row in report.evidence:
        if row.status == "measured":
            assert row.arms.floor is not None
            assert row.arms.attack is not None
    rows = load_rows(tmp_path / "out", report)
    assert len(rows["target"]) == report.dataset.parts["targets"].size
    assert vfc("gate", "out/report.json", "--gate", "adaptive.accuracy <= 0.01", quick=False)[0] == 1
    assert vfc("gate", "out/report.json", "--gate", "adaptive.accuracy >= 0.01", quick=False)[0] == 0
    assert vfc("gate", "out/report.json", "--gate", "no.such >= 1", quick=False)[0] == 2
    # It holds against those who never saw a release, and not against those who learn from it.
    ratio = report.metrics["transfer.suppression_ratio"]
    limit = min(each.low for each in (ratio, *ratio.others) if each.low is not None) - 0.02
    asked = ("--gate", f"transfer.suppression_ratio >= {limit}", "--gate", "adaptive.accuracy <= 0.01")
    code, said, _ = vfc("gate", "out/report.json", *asked, quick=False)
    assert code == 1, said
    assert [line.split()[0] for line in said.splitlines()[:2]] == ["held", "broken"]
    assert vfc("gate", "out/report.json", *asked[:2], quick=False)[0] == 0
    limit = report.metrics["adaptive.accuracy"].value
    assert vfc("gate", "out/report.json", "--gate", f"adaptive.accuracy >= {limit}", quick=False)[0] == 3


def test_identity_is_broken_and_noise_is_not(vfc):
    assert vfc("attack", "--release", "identity", "--out", "a", "--gate", "adaptive.leakage <= 0.1")[0] == 1
    code, _, err = vfc("attack", "--release", "pure-noise", "--out", "b", "--gate", "adaptive.leakage <= 0.9")
    assert code in (0, 3), err


def test_attack_and_ceiling_are_the_same_on_the_identity(vfc, tmp_path):
    assert vfc("attack", "--release", "identity", "--out", "a")[0] == 0
    for row in load(tmp_path / "a").evidence:
        if row.status == "measured" and row.arms.ceiling is not None:
            assert row.arms.attack.value == row.arms.ceiling.value, row.adversary
    assert load(tmp_path / "a").metrics["adaptive.leakage"].value == 1.0


def test_equal_runs_have_equal_digests_whatever_the_executor(vfc, tmp_path):
    common = ("attack", "--release", "identity", "--protocol", "transfer", "--fresh", "--no-cache")
    assert vfc(*common, "--out", "a")[0] == 0
    assert vfc(*common, "--out", "b", "--executor", "local")[0] == 0
    assert load(tmp_path / "a").digest == load(tmp_path / "b").digest
    assert vfc(*common, "--out", "c", "--seed", "1")[0] == 0
    assert load(tmp_path / "c").digest != load(tmp_path / "a").digest


def test_a_folder_of_other_settings_is_not_overwritten(vfc, tmp_path):
    common = ("attack", "--release", "constant", "--protocol", "transfer", "--out", "a")
    assert vfc(*common)[0] == 0
    before = (tmp_path / "a" / "report.json").read_bytes()
    code, _, err = vfc(*common, "--seed", "5")
    assert code == 2
    assert "--fresh" in err
    assert (tmp_path / "a" / "report.json").read_bytes() == before
    assert vfc(*common, "--seed", "5", "--fresh")[0] == 0


def test_finished_cells_are_not_computed_again(vfc, tmp_path, monkeypatch):
    common = ("attack", "--release", "identity", "--protocol", "transfer", "--out", "a")
    assert vfc(*common)[0] == 0
    digest = load(tmp_path / "a").digest
    cells = {path: path.stat().st_mtime_ns for path in (tmp_path / "a" / "cells").iterdir()}
    lost = sorted(cells)[0]
    lost.write_bytes(b"cut short")
    (tmp_path / "a" / "report.json").unlink()
    assert vfc(*common)[0] == 0
    assert load(tmp_path / "a").digest == digest
    changed = [path for path, when in cells.items() if path.stat().st_mtime_ns != when]
    assert changed == [lost]


FACTORY = """
import torch

class Halved(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.target = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))

    def forward(self, x):
        return x / 2

def build(num_classes):
    return Halved(num_classes)

def untargeted():
    return torch.nn.Flatten()

def broken():
    raise RuntimeError("no weights")

def wrong():
    return 3

def short(num_classes):
    class Short(torch.nn.Module):
        def forward(self, x):
            return x[:1]
    return Short()
"""


def test_a_third_party_factory_is_attacked(vfc, tmp_path):
    (tmp_path / "mine.py").write_text(FACTORY)
    code, _, err = vfc("attack", "--release", "mine.py:build", "--out", "a")
    assert code == 0, err
    report = load(tmp_path / "a")
    assert report.release.kind == "factory"
    assert report.metrics["adaptive.accuracy"].value > 0.8
    assert report.metrics["target.accuracy"].value is not None
    code, _, err = vfc("attack", "--release", "mine.py:untargeted", "--out", "b")
    assert code == 0, err
    report = load(tmp_path / "b")
    assert report.metrics["adaptive.suppression_ratio"].value is None
    assert "target" in report.metrics["adaptive.suppression_ratio"].reason
    assert report.metrics["adaptive.accuracy"].value > 0.8
    frozen = next(row for row in report.evidence if row.adversary == "frozen")
    assert frozen.status == "not_applicable"


@pytest.mark.parametrize(
    ("name", "words"), [("broken", "no weights"), ("wrong", "int"), ("short", "rows"), ("absent", "absent")]
)
def test_a_factory_that_goes_wrong_is_the_users_mistake(vfc, tmp_path, name, words):
    (tmp_path / "mine.py").write_text(FACTORY)
    code, _, err = vfc("attack", "--release", f"mine.py:{name}", "--out", "a")
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def saved_arrays(path, rng, **more):
    y = rng.integers(0, 3, 700)
    release = rng.normal(size=(700, 12)).astype(np.float32)
    release[:, 0] += 3 * y
    np.savez(path, release=release, label=y, **more)
    return y


def test_saved_arrays_are_attacked_without_originals_or_target(vfc, tmp_path):
    saved_arrays(tmp_path / "r.npz", np.random.default_rng(1))
    code, _, err = vfc(
        "attack", "--release", "r.npz", "--budget", "smoke", "--executor", "local", "--out", "a", quick=False
    )
    assert code == 0, err
    report = load(tmp_path / "a")
    assert report.metrics["adaptive.accuracy"].value > 0.85
    assert report.provenance.isolated is None  # there is no code to isolate
    assert "originals" in report.metrics["adaptive.leakage"].reason
    linear = next(row for row in report.evidence if row.adversary == "linear" and row.arms.ceiling is not None)
    assert linear.arms.ceiling.value > linear.arms.floor.high


def test_a_gate_on_a_crashed_adversary_never_holds(vfc, tmp_path, monkeypatch):
    from adversaries.attacks.label.probes.linear import Linear

    def crash(self, view, generator):
        raise RuntimeError("boom")

    monkeypatch.setattr(Linear, "fit", crash)
    code, _, err = vfc("attack", "--release", "constant", "--out", "a", "--gate", "adaptive.accuracy <= 0.9")
    assert code == 3, err
    report = load(tmp_path / "a")
    failed = [row for row in report.evidence if row.status == "failed"]
    assert failed
    assert "boom" in failed[0].reason
    assert "CRASHED" in report.metrics["adaptive.accuracy"].flags


@pytest.mark.parametrize("release", ["identity", "constant", "pixel-permutation", "label-release", "pure-noise"])
def test_known_leaks_and_nulls_run_through_every_adversary(vfc, tmp_path, release):
    code, _, err = vfc("attack", "--release", release, "--out", "a")
    assert code == 0, err
    report = load(tmp_path / "a")
    measured = {row.adversary for row in report.evidence if row.status == "measured"}
    assert {
        "frozen",
        "batchnorm",
        "entropy",
        "moments",
        "linear",
        "knn",
        "mlp",
        "cnn",
        "fine-tune",
        "adapter",
    } <= measured
    assert not [row.reason for row in report.evidence if row.status == "failed"]
    accuracy, floor = report.metrics["adaptive.accuracy"], report.evidence[0].arms.floor
    if release in ("constant", "pure-noise"):
        assert accuracy.low <= floor.high
    else:
        assert accuracy.low > floor.high


def test_a_keyed_release_holds_with_its_secret_accepted_and_says_on_what_condition(vfc, tmp_path):
    gates = ("--gate", "adaptive.accuracy <= 0.75", "--gate", "target.accuracy >= 0.7")
    code, out, err = vfc("attack", "--release", "sealed", "--out", "a", *gates, "--accept-secret", "symmetric")
    assert code == 0, err
    words = "as long as the key of the pads (256 bits, per dataset) stays secret"
    assert words in " ".join(out.replace("│", " ").split())
    assert [gate.condition for gate in load(tmp_path / "a").gates] == [words, words]
    code, out, _ = vfc("gate", "a/report.json", *gates, quick=False)
    assert code == 3
    assert words not in out


def test_unwritable_out_is_the_users_mistake(vfc, tmp_path):
    (tmp_path / "file").write_text("x")
    code, _, err = vfc("attack", "--release", "constant", "--out", "file/out")
    assert code == 2
    assert "--out" in err


def test_a_damaged_run_folder_is_named(vfc, tmp_path):
    assert vfc("train", "--out", "run")[0] == 0
    weights = tmp_path / "run" / "target.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    code, _, err = vfc("attack", "--release", "run", "--out", "a")
    assert code == 2
    assert "target.safetensors" in err


def test_options_that_contradict_the_run_folder_are_refused(vfc, tmp_path):
    assert vfc("train", "--out", "run")[0] == 0
    code, _, err = vfc("attack", "--release", "run", "--out", "a", "--target", "mlp")
    assert code == 2
    assert "--target" in err


def test_an_ablation_writes_its_table(vfc, tmp_path):
    code, out, err = vfc("train", "--ablate", "mask", "--out", "abl")
    assert code == 0, err
    variants = [row["variant"]["mask"] for row in json.loads((tmp_path / "abl" / "ablation.json").read_text())]
    assert variants == ["none", "kl", "saliency", "both", "random"]
    assert "random" in out
    assert (tmp_path / "abl" / "ablation.csv").read_text().count("\n") == 6


def test_an_ablation_over_seeds_trains_each_of_them(vfc, tmp_path, monkeypatch):
    monkeypatch.setitem(ablate.VARIANTS, "mask", ablate.VARIANTS["mask"][:1])
    code, out, err = vfc("train", "--ablate", "mask", "--repeat", "2", "--seed", "3", "--out", "abl")
    assert code == 0, err
    rows = json.loads((tmp_path / "abl" / "ablation.json").read_text())
    assert [(row["seed"], row["variant"]) for row in rows] == [(3, {"mask": "none"}), (4, {"mask": "none"})]
    accuracies = [row["metrics"]["target.accuracy"]["value"] for row in rows]
    assert f"{sum(accuracies) / 2:.3f}" in out
    assert "2 seeds" in out
    code, _, err = vfc("train", "--repeat", "2", "--out", "other")
    assert (code, "--ablate" in err) == (2, True)


def test_the_whole_ablation_crosses_all_choices():
    variants = ablate.VARIANTS["all"]
    assert len({tuple(sorted(each.items())) for each in variants}) == len(variants) == 5 * 3 * 2 * 2
    assert {tuple(each) for each in variants} == {("mask", "decoder", "output", "beta")}


def test_interrupted_runs_exit_130_and_resume(small_npz, tmp_path):
    from tests.protocols.conftest import QUICK

    command = [
        sys.executable, "-m", "vfc", "attack", "--release", "identity", "--out", "a", "--budget", "smoke",
        *QUICK, "--dataset", f"npz:{small_npz}", "--task", "side",
    ]  # fmt: skip
    env = {**os.environ, "VFC_CACHE_DIR": str(small_npz.parent / "cache")}
    started = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # Whoever was started in the background ignores interruptions, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    cells = tmp_path / "a" / "cells"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(cells.glob("*.safetensors"))) < 3:
        time.sleep(0.02)
    started.send_signal(signal.SIGINT)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 130, err
    assert "resumes" in err
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*.safetensors")}
    assert len(kept) >= 3
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
