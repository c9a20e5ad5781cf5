"""`vfc train --checkpoints` and `vfc leakage --over-training` as a user meets them."""

import json
import re

import pytest
import safetensors.torch
import torch
from torch import nn

from adversaries.evidence import Value
from protocols.overtraining_findings import correlations, layers_differ
from protocols.overtraining_shadows import universe_of
from vfc.checkpoints import kept, schedule
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
    monkeypatch.setattr("protocols.overtraining_tasks.measure_layers", None)
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
    assert vfc("train", "--checkpoints", "3", "--out", "run")[0] == 0
    dataset = load_dataset(f"npz:{small_npz}", task="side")
    parts = split(dataset)
    for part, steps in (("target", 60), ("encoder", None)):
        found = kept(tmp_path / "run" / "checkpoints", part)
        assert found.steps == schedule(steps or found.steps[-1], 3)
        assert sorted(found.about["members"]) == sorted(each.hex()[:16] for each in parts.defender_train.row_hashes)
    last = kept(tmp_path / "run" / "checkpoints", "target").state(60)
    final = safetensors.torch.load_file(tmp_path / "run" / "target.safetensors")
    assert all(torch.equal(value, last[name]) for name, value in final.items())
    monkeypatch.setattr("protocols.overtraining_study.UNIVERSE", 60)
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
        assert data["membership"] == {"reason": None, "members": 40, "non_members": 40, "shadows": 2}
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
    code, _, error = over("--release", "run", "--target", "mlp", "--out", "odd")
    assert code == 2
    assert "--target" in error


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


def test_halves_of_the_pool_are_drawn_each_by_itself():
    dataset = load_dataset("digits")
    universe = universe_of(split(dataset), 6, 0, whole=True)
    assert universe.member.shape == (6, 747)
    assert universe.member.sum(1).tolist() == [373] * 6
    # Of independent halves about half of one is in another; of two that complete each other nothing is.
    for first in range(6):
        for second in range(first):
            assert 0.4 < float(universe.member[second][universe.member[first]].float().mean()) < 0.6


def test_correlations_are_those_of_the_layers():
    def number(value):
        return Value(value=value, low=value, high=value).model_dump(mode="json")

    ranks = {"mcr": (1, 2, 3, 4, 5), "cv": (5, 4, 3, 2, 1), "reduction": (1, 1, 1, 1, 1)}
    layers = [
        {
            "courses": {"leakage.dof.ridge": {name: number(row[i]) for name, row in ranks.items()}},
            "membership": [{"advantage": number(0.0)}, {"advantage": number(0.1 * i)}],
        }
        for i in range(5)
    ]
    found = {row["heuristic"]: row for row in correlations(layers)}
    assert (found["mcr"]["value"], found["mcr"]["n"]) == (1.0, 5)
    assert found["cv"]["value"] == -1.0
    assert found["mcr"]["low"] < 1.0
    assert found["reduction"]["value"] is None
    layers[0]["membership"] = [{"reason": "no tensor"}]
    assert {row["n"] for row in correlations(layers)} == {4}


def test_an_order_of_layers_needs_two_whose_intervals_are_apart():
    def layers(*bounds):
        return [{"membership": [{}, {"advantage": {"low": low, "high": high}}]} for low, high in bounds]

    assert not layers_differ(layers((0.1, 0.3), (0.2, 0.4), (0.25, 0.5)))
    assert layers_differ(layers((0.1, 0.3), (0.2, 0.4), (0.31, 0.5)))
    assert not layers_differ([{"membership": [{"reason": "no tensor"}]}])
