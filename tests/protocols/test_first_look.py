"""What is seen of a user's own release before anything is trained."""

import json

import numpy as np
import pytest

SPLIT = '''
import torch
from torch import nn


class Split(nn.Module):
    """Half a network publishes, the other half reads; `clean_target` is both."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Linear(64, 12)
        self.target = nn.Linear(12, 2)
        with torch.no_grad():
            # The mean of every column but the first and the last: its two halves tell the classes.
            weight = torch.zeros(12, 8, 8)
            for row in range(12):
                weight[row, :, 1 + row % 6] = 0.25
            self.first.weight.copy_(weight.flatten(1))
            self.first.bias.zero_()
            side = torch.tensor([1.0, 1, 1, -1, -1, -1] * 2)
            self.target.weight.copy_(torch.stack([side, -side]))
            self.target.bias.zero_()
        CLEAN

    def forward(self, x):
        return self.first(x.flatten(1))


def build():
    return Split()
'''
LOCAL = ("--executor", "local", "--budget", "smoke")
WITH, WITHOUT = "self.clean_target = nn.Sequential(nn.Flatten(), self.first, self.target)", "pass"
COLOR = '''
import torch
from torch import nn


class Color(nn.Module):
    """Normalizes three channels, so that a gray image is broadcast to them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.convolution = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.convolution(x - self.mean)


def build():
    return Color().requires_grad_(False)
'''
LEARNS = COLOR.replace("    def forward", "    def fit(self, images, labels):\n        pass\n\n    def forward")


@pytest.fixture
def write(tmp_path):
    def to(text, name="own.py"):
        (tmp_path / name).write_text(text)
        return f"{name}:build"

    return to


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_a_split_network_is_told_before_training_what_applies_and_what_to_ask(vfc, write, tmp_path):
    release = write(SPLIT.replace("CLEAN", WITH))
    code, _, err = vfc("attack", "--release", release, "--protocol", "transfer", "--out", "one")
    assert code == 2
    assert "transfer needs releases shaped like the images, got 12; ask for adaptive-probe" in " ".join(err.split())
    assert "training" not in err
    code, _, err = vfc("attack", "--release", release, "--protocol", "membership", "--out", "two")
    assert code == 2
    assert "fits nothing" in err


def test_clean_target_makes_the_retention_of_a_split_network_known(vfc, write, tmp_path):
    for clean, known in ((WITH, True), (WITHOUT, False)):
        out = tmp_path / f"known-{known}"
        release = write(SPLIT.replace("CLEAN", clean), f"split_{known}.py")
        code, _, err = vfc(
            "attack", "--release", release, "--protocol", "leakage", "--protocol", "transfer", "--out", out,
            "--set", "train.steps=2",
        )  # fmt: skip
        assert code in (0, 3), err
        assert "transfer needs releases shaped like the images" in " ".join(err.split())
        metrics = report_of(out)["metrics"]
        assert metrics["target.accuracy"]["value"] > 0.9
        if known:
            # Nothing is added to what passes, so both are one network.
            assert metrics["target.clean_accuracy"]["value"] == metrics["target.accuracy"]["value"]
            assert metrics["target.retention"]["value"] == 1
        else:
            assert metrics["target.retention"]["value"] is None
            assert "clean_target" in metrics["target.retention"]["reason"]


def test_a_clean_target_that_cannot_be_called_is_refused(vfc, write):
    release = write(SPLIT.replace("CLEAN", "self.clean_target = 3"))
    code, _, err = vfc("attack", "--release", release, "--out", "out")
    assert code == 2
    assert "expected `clean_target`" in err


def test_a_defense_that_fits_nothing_leaves_the_whole_training_part_to_the_attacker(vfc, write, tmp_path):
    sizes = {}
    for name, text in (("nothing", SPLIT.replace("CLEAN", WITH)), ("learns", SPLIT.replace("CLEAN", WITH))):
        fit = "    def fit(self, images, labels):\n        pass\n\n    def forward"
        release = write(text.replace("    def forward", fit) if name == "learns" else text, f"{name}.py")
        code, _, err = vfc(
            "attack", "--release", release, "--protocol", "leakage", "--out", name, "--set", "train.steps=2"
        )
        assert code in (0, 3), err
        block = report_of(tmp_path / name)["dataset"]
        sizes[name] = {part: each["size"] for part, each in block["parts"].items()}
        assert block["split"] == ("paper" if name == "nothing" else "halves")
    assert sizes["nothing"]["pool_train"] + sizes["nothing"]["pool_validation"] == 450
    assert sizes["learns"]["pool_train"] + sizes["learns"]["pool_validation"] == 225
    assert sizes["nothing"]["targets"] == sizes["learns"]["targets"] == 150


@pytest.mark.parametrize("text", [COLOR, LEARNS], ids=["fits nothing", "learns"])
def test_a_module_for_color_is_not_fed_gray_digits_unless_they_are_named(vfc, write, text):
    release = write(text)
    code, _, err = vfc("attack", "--release", release, "--budget", "smoke", "--out", "out", quick=False)
    assert code == 2
    words = " ".join(err.split())
    assert "it reads images of 3 channels, and digits, the default, have 1" in words
    assert "--dataset digits" in words


def test_a_release_that_cannot_read_the_images_ends_before_training(vfc, write):
    release = write(
        SPLIT.replace("CLEAN", WITH).replace("nn.Linear(64, 12)", "nn.Linear(65, 12)").replace("8, 8)", "5, 13)")
    )
    code, _, err = vfc("attack", "--release", release, "--out", "out")
    assert code == 2
    assert "training models" not in err
    assert "raised" in err


def test_saved_arrays_may_hold_what_the_target_says_without_a_defense(vfc, tmp_path):
    generator = np.random.default_rng(0)
    label = np.arange(400) % 2
    clean = np.where(generator.random(400) < 0.9, label, 1 - label)
    answer = np.where(generator.random(400) < 0.5, clean, label)
    release = label[:, None] + generator.normal(0, 1, (400, 3))
    arrays = {"release": release.astype(np.float32), "label": label, "prediction": answer}
    found = {}
    for name, more in (("with", {"clean_prediction": clean}), ("without", {})):
        np.savez(tmp_path / f"{name}.npz", **arrays, **more)
        code, _, err = vfc(
            "attack", "--release", f"{name}.npz", "--protocol", "leakage", "--out", name, *LOCAL, quick=False
        )
        assert code in (0, 3), err
        found[name] = report_of(tmp_path / name)["metrics"]
    shares = [found["with"][f"target.{each}"]["value"] for each in ("accuracy", "clean_accuracy", "retention")]
    assert shares[2] == pytest.approx(shares[0] / shares[1])
    assert 0.8 < shares[1] < shares[0] < 1
    assert found["without"]["target.retention"]["value"] is None
    np.savez(tmp_path / "odd.npz", **arrays, clean_prediction=clean + 1)
    code, _, err = vfc("attack", "--release", "odd.npz", "--out", "odd", quick=False)
    assert code == 2
    assert "predictions below 2" in err
