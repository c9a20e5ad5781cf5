"""What a defense does to the process's global state, or says of the number of classes, changes no number of others."""

import json
from pathlib import Path

import numpy as np
import pytest

SEEDING = """
import os, random
import numpy, torch
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        seed = os.environ.get("OWN_SEED")
        if seed:
            torch.manual_seed(int(seed))
            numpy.random.seed(int(seed))
            random.seed(int(seed))
        return x * 0.5

def build():
    return Own()
"""


def test_global_seeds_that_a_defense_sets_change_no_number(vfc, tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(SEEDING)
    found = []
    for seed in ("", "1", "2"):
        monkeypatch.setenv("OWN_SEED", seed)
        # In the run's own process, where it could touch the attackers.
        code, _, errors = vfc(
            "attack", "--release", "own.py:build", "--protocol", "adaptive-probe", "--threat", "L2", "--no-isolation",
            "--fresh", "--no-cache", "--out", f"o{seed}", "--quiet",
        )  # fmt: skip
        assert code == 0, errors
        report = json.loads(Path(f"o{seed}/report.json").read_text())
        rows = [{name: row[name] for name in ("adversary", "arms", "health")} for row in report["evidence"]]
        found.append((report["metrics"], rows))
    assert found[1] == found[0]
    assert found[2] == found[0]


MANY = 10**12

CLASSES = """
import torch
from torch import nn

class Own(nn.Module):
    def forward(self, x):
        return FORWARD

    def predict(self, r):
        return PREDICT

def build(num_classes):
    own = Own()
    own.target = TARGET
    return own
"""


@pytest.mark.parametrize(
    ("forward", "predict", "target"),
    [
        ("x", "torch.zeros(len(r), 10**12)", "None"),
        ("x", "torch.zeros(1, 1).expand(len(r), 10**12)", "None"),
        ("x", "None", "nn.Sequential(nn.Flatten(), nn.Linear(64, 10**12))"),
        ("x", "None", "nn.Embedding(num_classes * 10**12, 10**12)"),
        ("torch.zeros(1, 1).expand(len(x), 10**12)", "torch.zeros(len(r), 2)", "None"),
    ],
)
def test_a_factory_of_very_many_classes_or_numbers_is_one_line(vfc, tmp_path, forward, predict, target):
    text = CLASSES.replace("FORWARD", forward).replace("PREDICT", predict).replace("TARGET", target)
    (tmp_path / "own.py").write_text(text if target == "None" else text.replace("    def predict", "    def other"))
    code, _, errors = vfc("attack", "--release", "own.py:build", "--protocol", "transfer", "--out", "o", "--quiet")
    assert code == 2, errors
    assert "Traceback" not in errors
    assert not Path("o/report.json").exists()


@pytest.mark.parametrize("highest", [MANY - 1, 2**62])
@pytest.mark.parametrize("what", ["images", "release"])
def test_data_of_very_many_classes_are_one_line(vfc, tmp_path, what, highest):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    labels[:5] = highest
    values = rng.integers(0, 255, (400, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "many.npz", **{what: values, "label": labels})
    named = ("--dataset", "npz:many.npz", "--release", "identity") if what == "images" else ("--release", "many.npz")
    code, _, errors = vfc("attack", *named, "--protocol", "adaptive-probe", "--out", "o", "--quiet", quick=False)
    assert code == 2, errors
    assert "Traceback" not in errors
    assert "label" in errors
