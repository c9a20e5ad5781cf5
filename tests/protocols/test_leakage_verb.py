"""`vfc leakage` as a user meets it."""

import json
import subprocess
import sys

import pytest
import safetensors.torch

from protocols.cli import run

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Flatten(), nn.Linear({inputs}, 16), nn.ReLU(inplace=True))
        self.layer2 = nn.Linear(16, 12)
        self.head = nn.Linear(12, classes)

    def forward(self, x):
        return self.head(self.layer2(self.layer1(x)))

def build(num_classes):
    return Net(num_classes)

def raises():
    raise ValueError("no weights")

def number():
    return 3

def bad():
    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Linear(5, 5)
        def forward(self, x):
            return self.layer1(x)
    return Bad()

def cuts():
    class Cuts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Identity()
        def forward(self, x):
            return self.layer1((x > 0.5).float())
    return Cuts()
"""


@pytest.fixture
def leakage(tmp_path, monkeypatch, capsys, small_npz):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(MODEL.replace("{inputs}", "64"), encoding="utf-8")

    def call(*arguments, model="net.py:build"):
        data = ("--dataset", f"npz:{small_npz}", "--task", "side")
        code = run(["leakage", "--model", model, *data, *arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_layers_of_a_module_of_ones_own(leakage, tmp_path):
    code, out, _ = leakage("--layers", "layer*", "--out", "out", "--samples", "3", "--images", "80")
    assert code == 0
    assert "layer1" in out
    assert "train mode" in out
    data = json.loads((tmp_path / "out" / "leakage.json").read_text())
    assert [layer["name"] for layer in data["layers"]] == ["layer1", "layer2"]
    metrics = data["layers"][1]["metrics"]
    assert 0 < metrics["leakage.jacobian.rank@1e-3"]["value"] <= 12
    assert metrics["leakage.jacobian.effective_rank"]["low"] is not None
    assert metrics["leakage.dof.effective"]["n"] == 80
    arrays = safetensors.torch.load_file(tmp_path / "out" / "leakage.safetensors")
    assert arrays["spectra/layer2"].shape == (3, 12)


def test_the_same_command_says_the_same(leakage, tmp_path):
    for folder in ("one", "two"):
        leakage("--layers", "layer2", "--out", folder, "--samples", "2", "--images", "40")
    one, two = (json.loads((tmp_path / name / "leakage.json").read_text())["layers"] for name in ("one", "two"))
    assert one == two


def test_a_folder_of_another_run_is_not_overwritten(leakage):
    assert leakage("--layers", "layer2", "--out", "out", "--samples", "2", "--images", "40")[0] == 0
    assert leakage("--layers", "layer2", "--out", "out", "--samples", "2", "--images", "40")[0] == 0
    code, _, error = leakage("--layers", "layer1", "--out", "out", "--samples", "2", "--images", "40")
    assert code == 2
    assert "--fresh" in error
    assert leakage("--layers", "layer1", "--out", "out", "--samples", "2", "--images", "40", "--fresh")[0] == 0


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("net.py:build", ["--layers", "layr1"], ["unknown layer", "did you mean 'layer1'"]),
        ("net.py:build", ["--layers", "layer1.9"], ["unknown layer", "layer1.0"]),
        ("net.py:buidl", [], ["did you mean 'build'"]),
        ("net.py:raises", [], ["ValueError", "no weights"]),
        ("net.py:number", [], ["int"]),
        ("net.py:bad", [], ["RuntimeError"]),
        ("nowhere.py:build", [], ["nowhere.py"]),
        ("vfc", [], ["mypkg:build"]),
        ("net.py:build", ["--method", "magic"], ["--method"]),
        ("net.py:build", ["--samples", "1"], ["--samples"]),
        ("net.py:build", ["--executor", "local"], ["unknown option"]),
    ],
)
def test_mistakes_are_one_line_and_exit_2(leakage, model, arguments, words):
    code, out, error = leakage(*arguments, model=model)
    assert code == 2, out
    assert error.strip().count("\n") <= 1
    for word in words:
        assert word in error


def test_nothing_measured_is_not_success(leakage):
    code, out, _ = leakage("--out", "out", model="net.py:cuts")
    assert code == 3
    assert "no gradient leads" in " ".join(out.split())


def test_a_color_model_reads_gray_images(leakage):
    pytest.importorskip("torchvision")
    code, out, _ = leakage(
        "--layers", "layer4", "--out", "out", "--samples", "2", "--images", "24", model="torchvision.models:resnet18"
    )
    assert code == 0
    assert "repeated three times" in out


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom protocols.cli import run\n"
        "code = run(['leakage', '--help'])\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--layers" in done.stdout
