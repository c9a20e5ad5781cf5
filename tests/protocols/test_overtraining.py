"""`vfc train --checkpoints` and `vfc leakage --over-training` as a user meets them."""

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from adversaries.evidence import Value
from protocols.over_training.shadows import universe_of
from protocols.over_training.study import ENCODER, SAMPLED, encoder_notes
from tests.protocols.elsewhere import Elsewhere
from vfc.checkpoints import Kept, kept, schedule
from vfc.data import load_dataset
from vfc.seeding import seeded
from vfc.splits import split

MODEL = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat = nn.Flatten()
        self.first = nn.Linear(64, 12)
        self.second = nn.Linear(12, 9)
    def forward(self, x):
        return self.second(self.first(self.flat(x)))

class Cut(nn.Module):
    def forward(self, x):
        return x.detach()

class Odd(Net):
    def __init__(self):
        super().__init__()
        self.cut = Cut()
    def forward(self, x):
        self.cut(x)
        return super().forward(x)

def odd():
    return Odd()

def build():
    return Net()

def other():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))

def number():
    return 3
"""
RANKS = {0: 8, 20: 3, 100: 6}
SMALL = ("--samples", "2", "--images", "60")


def state(rank):
    """A first layer of a known rank whose singular values are all 1."""
    generator = torch.Generator().manual_seed(rank)
    left = torch.linalg.qr(torch.randn(12, 12, generator=generator))[0][:, :rank]
    right = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0][:rank]
    second = seeded(lambda: nn.Linear(12, 9), generator).state_dict()
    return {
        "first.weight": left @ right, "first.bias": torch.zeros(12),
        **{f"second.{name}": value for name, value in second.items()},
    }  # fmt: skip


@pytest.fixture
def states(vfc, tmp_path):
    (tmp_path / "net.py").write_text(MODEL, encoding="utf-8")
    folder = tmp_path / "states"
    folder.mkdir()
    for step, rank in RANKS.items():
        torch.save({"state_dict": state(rank)}, folder / f"v2-step{step}.pt")
    return folder


@pytest.fixture
def over(vfc, small_npz):
    data = ("--dataset", f"npz:{small_npz}", "--task", "side")

    def call(*arguments):
        return vfc("leakage", "--over-training", *data, *SMALL, *arguments, quick=False)

    return call


def read(path):
    return json.loads((path / "overtraining.json").read_text())


def test_a_module_of_linear_layers_has_the_ranks_it_was_given(over, states, tmp_path):
    code, out, error = over("--model", "net.py:build", "--checkpoints", "states/*.pt", "--out", "out")
    assert code == 0, error
    data = read(tmp_path / "out")
    assert data["steps"] == [0, 20, 100]
    layers = {layer["name"]: layer for layer in data["layers"]}
    assert list(layers) == ["flat", "first", "second"]
    for name in ("leakage.jacobian.rank@1e-3", "leakage.jacobian.effective_rank"):
        course = layers["first"]["courses"][name]
        assert [value["value"] for value in course["values"]] == pytest.approx([8, 3, 6], rel=1e-4)
        assert course["cv"]["value"] == pytest.approx(-2, abs=1e-3)
        assert course["mcr"]["value"] == pytest.approx(3 / 8, abs=1e-4)
        assert course["reduction"]["value"] == pytest.approx(2 / 8, abs=1e-4)
        turned = course["fall_then_rise"]
        assert (turned["found"], turned["step"]) == (True, 20)
    flat = layers["flat"]["courses"]["leakage.jacobian.rank@1e-3"]
    assert [value["value"] for value in flat["values"]] == [64, 64, 64]
    assert flat["fall_then_rise"]["found"] is False
    assert len(layers["first"]["courses"]) == 6
    assert data["model"] is None
    assert "which images it was trained on" in data["membership"]["reason"]
    assert "No membership attack" in out
    assert (tmp_path / "out" / "overtraining.svg").read_text().startswith("<svg xmlns")
    assert "<script" not in (tmp_path / "out" / "overtraining.html").read_text()


def test_finished_checkpoints_are_not_measured_again(over, states, tmp_path, monkeypatch):
    arguments = ("--model", "net.py:build", "--checkpoints", "states/*", "--out", "out", "--layers", "first")
    assert over(*arguments)[0] == 0
    first = read(tmp_path / "out")
    monkeypatch.setattr("protocols.over_training.tasks.measure_layers", None)
    assert over(*arguments)[0] == 0
    assert read(tmp_path / "out")["layers"] == first["layers"]


def test_states_as_safetensors_in_natural_order(over, states, tmp_path):
    for step, rank in RANKS.items():
        safetensors.torch.save_file(
            {name: value.contiguous() for name, value in state(rank).items()}, states / f"at-{step}.safetensors"
        )
    code, _, error = over(
        "--model", "net.py:build", "--checkpoints", "states/*.safetensors", "--out", "out", "--layers", "first"
    )
    assert code == 0, error
    assert read(tmp_path / "out")["steps"] == [0, 20, 100]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "net.py:build"], ["--checkpoints 'path/*.pt'"]),
        (["--model", "net.py:build", "--checkpoints", "nowhere/*.pt"], ["3 or more checkpoints", "got 0 files"]),
        (["--model", "net.py:build", "--checkpoints", "states/*20.pt"], ["3 or more checkpoints", "got 1 files"]),
        (["--model", "net.py:other", "--checkpoints", "states/*.pt"], ["Missing key", "step0.pt"]),
        (["--model", "net.py:number", "--checkpoints", "states/*.pt"], ["int"]),
        (["--model", "net.py:build", "--checkpoints", "*"], ["net.py", "narrow the pattern"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--layers", "frist"], ["did you mean 'first'"]),
        (["--model", "net.py:build", "--release", "states"], ["--release or --model"]),
        (["--release", "states"], ["run folder", "vfc train"]),
        (["--release", "vfc"], ["a folder of vfc train"]),
        (["--part", "encoder"], ["--release"]),
        (["--checkpoints", "2"], ["3 or more"]),
        (["--checkpoints", "states/*.pt"], ["a number as --checkpoints"]),
        (["--shadows", "1"], ["2 or more --shadows"]),
        (["--target", "cnm", "--checkpoints", "3"], ["did you mean 'cnn'"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--target", "mlp"], ["--target", "--model"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--width", "0.5"], ["--width", "--model"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--set", "train.lr=1"], ["--set", "--model"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--shadows", "0"], ["--shadows", "--model"]),
        (["--model", "net.py:build", "--checkpoints", "states/*.pt", "--members", "20"], ["--members", "--model"]),
        (["--release", "run", "--target", "cnn"], ["no --target beside --release"]),
        (["--release", "run", "--set", "train.steps=3"], ["no --set beside --release"]),
        (["--shadows", "0", "--members", "20"], ["no --members beside --shadows 0"]),
    ],
)
def test_mistakes_are_one_line_and_exit_2(over, states, arguments, words):
    code, out, error = over(*arguments)
    assert code == 2, out
    lines = [line for line in error.splitlines() if "error:" in line]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_names_without_steps_and_files_of_no_state(over, states, tmp_path):
    call = ("--model", "net.py:build", "--checkpoints")
    for name in ("a", "b", "c"):
        torch.save(state(3), tmp_path / f"{name}.pt")
    assert "the step as a number" in over(*call, "?.pt")[2]
    for name in ("a1", "b1", "c2"):
        torch.save(state(3), states / f"{name}.pt")
    assert "different steps" in over(*call, "states/??.pt")[2]
    (states / "v2-step50.pt").write_bytes(b"no pickle at all")
    assert "a state dict of tensors" in over(*call, "states/v2-*.pt")[2]
    torch.save([torch.zeros(3)], states / "v2-step50.pt")
    assert "got list" in over(*call, "states/v2-*.pt")[2]
    torch.save({0: torch.zeros(3)}, states / "v2-step50.pt")
    assert "names of parameters as keys" in over(*call, "states/v2-*.pt")[2]


def test_exit_3_is_for_a_course_without_any_layer(over, states):
    call = ("--model", "net.py:odd", "--checkpoints", "states/*.pt", "--layers")
    assert over(*call, "cut", "--out", "none")[0] == 3
    code, _, error = over(*call, "cut", "--layers", "first", "--out", "one")
    assert code == 0, error


def test_a_config_file_may_serve_other_runs_too(over, states, tmp_path):
    (tmp_path / "vfc.toml").write_text('target = "mlp"\n[set.train]\nlr = 0.5\n', encoding="utf-8")
    code, _, error = over("--model", "net.py:build", "--checkpoints", "states/*.pt", "--layers", "first")
    assert code == 0, error


def test_an_encoder_that_is_deployed_with_samples_is_followed_by_its_mean():
    def notes(**training):
        about = {"training": training}
        return encoder_notes(Kept(folder=Path(), part="encoder", steps=(0, 1, 2), about=about, digests=("",) * 3))

    assert notes(deployment="sample") == (ENCODER, SAMPLED)
    assert notes(deployment="mean") == notes() == (ENCODER,)


def test_options_without_over_training_are_mistakes(vfc, states):
    for arguments, word in ((["--shadows", "4"], "--shadows"), (["--target", "cnn"], "--target"), ([], "--model")):
        code, _, error = vfc("leakage", *arguments, quick=False)
        assert code == 2
        assert word in error
    code, _, error = vfc("train", "--checkpoints", "2", quick=False)
    assert (code, "3 or more" in error) == (2, True)
    code, _, error = vfc("train", "--checkpoints", "5", "--ablate", "mask", quick=False)
    assert (code, "--ablate" in error) == (2, True)


def test_from_a_run_folder_to_the_attack_on_target_and_encoder(vfc, over, tmp_path, small_npz, monkeypatch):
    assert vfc("train", "--checkpoints", "3", "--set", "vfc.deployment=sample", "--out", "run")[0] == 0
    dataset = load_dataset(f"npz:{small_npz}", task="side")
    parts = split(dataset)
    for part, steps in (("target", 60), ("encoder", None)):
        found = kept(tmp_path / "run" / "checkpoints", part)
        assert found.steps == schedule(steps or found.steps[-1], 3)
        assert sorted(found.about["members"]) == sorted(each.hex()[:16] for each in parts.defender_train.row_hashes)
    last = kept(tmp_path / "run" / "checkpoints", "target").state(60)
    final = safetensors.torch.load_file(tmp_path / "run" / "target.safetensors")
    assert all(torch.equal(value, last[name]) for name, value in final.items())
    monkeypatch.setattr("protocols.over_training.study.UNIVERSE", 60)
    wanted = {
        "target": (["normalize", "body", "head"], ()),
        "encoder": (["encoder.head"], ("--layers", "encoder.head")),
    }
    for part, (layers, more) in wanted.items():
        small = ("--shadows", "2", "--members", "40", "--out", part)
        code, out, error = over("--release", "run", "--part", part, *small, *more)
        assert code == 0, error
        assert "whole model" in out
        data = read(tmp_path / part)
        assert [layer["name"] for layer in data["layers"]] == layers
        trained, known = len(parts.defender_train), len(parts.pool_train)
        if part == "target":
            known += len(parts.pool_validation)
        sizes = {"trained_on": trained, "shadows_trained_on": min(trained, known * 2 // 3)}
        assert data["membership"] == {"reason": None, "members": 40, "non_members": 40, "shadows": 2, **sizes}
        differ = f"trained on {sizes['shadows_trained_on']} images, the network in question on {trained}"
        assert any(differ in note for note in data["notes"]) is (sizes["shadows_trained_on"] != trained)
        assert (SAMPLED in data["notes"]) is (part == "encoder")
        for rows in (data["model"], *(layer["membership"] for layer in data["layers"])):
            assert len(rows) == 3
            for row in rows:
                value = Value.model_validate(row["advantage"])
                assert -1 <= value.low <= value.value <= value.high <= 1
                assert (value.counts["n"], value.counts["others"]) == (40, 40)
                assert "TOO_FEW_TARGETS" in row["health"]
        # A fresh network knows nobody.
        start = data["model"][0]["advantage"]
        if part == "target":
            assert start["low"] <= 0 <= start["high"]
        (row, *_) = data["correlations"]
        assert (row["n"], row["value"]) == (len(layers), None)
        assert "at least 4" in row["reason"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "net.py:build", "--checkpoints", "states/*"),
        ("--target", "mlp", "--width", "0.1", "--set", "train.steps=12", "--checkpoints", "3", "--shadows", "2",
         "--members", "20", "--layers", "body"),
    ],
)  # fmt: skip
def test_checkpoints_are_the_same_on_any_executor_and_are_kept(over, states, tmp_path, monkeypatch, arguments):
    monkeypatch.setattr("protocols.over_training.study.UNIVERSE", 60)
    assert over(*arguments, "--out", "here")[0] == 0
    monkeypatch.setattr("protocols.commands.over_training.LocalExecutor", Elsewhere)
    assert over(*arguments, "--out", "there")[0] == 0
    here, there = read(tmp_path / "here"), read(tmp_path / "there")
    assert all(here[name] == there[name] for name in ("layers", "model", "correlations"))
    monkeypatch.setattr("protocols.over_training.tasks.load_sources", None)
    assert over(*arguments, "--out", "there")[0] == 0
    assert read(tmp_path / "there")["layers"] == here["layers"]


def test_a_training_of_its_own_and_no_shadows(over, tmp_path):
    code, out, error = over(
        "--target", "mlp", "--width", "0.1", "--set", "train.steps=12", "--checkpoints", "4", "--shadows", "0",
        "--layers", "body.*", "--out", "out",
    )  # fmt: skip
    assert code == 0, error
    data = read(tmp_path / "out")
    assert data["steps"] == [0, 1, 3, 12]
    assert len(data["layers"]) == 7
    assert "--shadows 0" in data["membership"]["reason"]
    assert re.search(r"rank@1e-3 +\d of 7", out)


@pytest.mark.parametrize(("whole", "images", "size"), [(True, 747, 480), (False, 597, 398)])
def test_shadows_know_as_many_images_as_the_network_or_two_thirds_of_the_pool(whole, images, size):
    universe = universe_of(split(load_dataset("digits")), 6, 0, whole=whole)
    assert universe.member.shape == (6, images)
    assert universe.member.sum(1).tolist() == [size] * 6
    # Of independent draws such a share of one is in another as of all images; 4 deviations of a hypergeometric share.
    share = size / images
    width = 4 * ((1 - share) ** 2 / (images - 1)) ** 0.5
    for first in range(6):
        for second in range(first):
            both = float(universe.member[second][universe.member[first]].float().mean())
            assert both == pytest.approx(share, abs=width)
