"""The protocol `mask-aware` from the command line: every part has its controls, and what does not apply says why."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from adversaries.statistics import levels

FAST = (
    "--set", "mask-latent.steps=40", "--set", "mask-latent.copies=1", "--set", "mask-latent.iterations=2",
    "--set", "mask-replay.steps=20", "--set", "mask-replay.copies=1",
)  # fmt: skip

LINEAR = """
import torch
from torch import nn

class Masked(nn.Module):
    def __init__(self, shown):
        super().__init__()
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))
        decoder = nn.Sequential(nn.Linear(8, 20), nn.Tanh())
        self.mask = torch.tensor([1.0, 1, 0, 1, 0, 1, 0, 0])
        self.parts = nn.ModuleList([encoder, decoder]).requires_grad_(False)
        if shown:
            self.encoder, self.decoder = encoder, decoder
    def forward(self, x):
        encoder, decoder = self.parts
        return decoder(encoder(x) * self.mask)

def build():
    return Masked(True)

def closed():
    return Masked(False)
"""


def conducted(vfc, *arguments, expected=0):
    code, _, err = vfc("attack", "--protocol", "mask-aware", "--out", "out", *FAST, *arguments)
    assert code == expected, err
    with open("out/report.json", encoding="utf-8") as file:
        return json.load(file), load_file("out/report.safetensors")


def test_a_mask_per_image_is_attacked_in_every_way(vfc):
    report, rows = conducted(vfc, "--release", "vfc", "--set", "vfc.scope=sample", "--set", "vfc.keep=3")
    by_name = {}
    for row in report["evidence"]:
        by_name.setdefault((row["adversary"], row["goal"]), []).append(row)
        assert row["status"] == "measured", row
        assert row["arms"]["floor"] is not None
        assert row["arms"]["ceiling"] is not None
    assert len(by_name["mask-latent", "task:side"]) == 3
    assert len(by_name["mask-replay", "task:side"]) == 1
    lifts = {row["settings"]["input"]: row for row in report["evidence"] if row["goal"] == "lift:task:side"}
    assert set(lifts) == {"unmasked latent", "masked latent", "random mask", "mask bits"}
    hidden = lifts["random mask"]["metrics"]["hidden_by_mask"]
    attacks = [lifts[name]["arms"]["attack"]["value"] for name in ("unmasked latent", "masked latent")]
    assert hidden["value"] == pytest.approx(attacks[0] - attacks[1])
    assert all(row["arms"]["shuffled"] is not None for row in lifts.values())
    assert rows["mask/bits"].shape == (16, 8)
    assert rows["mask/bits"].sum(1).tolist() == [3] * 16
    gain, recovered = report["metrics"]["mask.gain"], report["metrics"]["mask.recovery"]
    chosen = {row["threat"]["level"]: row for row in report["evidence"] if row["chosen"] and row["goal"] == "task:side"}
    best = {level: row["arms"]["attack"]["value"] for level, row in chosen.items()}
    assert gain["value"] == pytest.approx(best["L4"] - best["L2"])
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert set(gain["counts"]) == {"n11", "n10", "n01", "n00"}
    (inference,) = by_name["mask-inference", "mask"]
    assert recovered["value"] == pytest.approx(float(np.mean(rows["mask-aware/mask/0"])))
    assert 0 <= inference["arms"]["floor"]["value"] <= 1
    # A gate can be judged at another level, from what is stored.
    from adversaries.evidence import Value

    for value in (gain, recovered):
        again = levels.recompute(Value.model_validate(value), 0.01, rows)
        assert again.low <= value["low"] <= value["high"] <= again.high


def test_a_module_with_a_vector_release_and_one_mask(vfc, tmp_path):
    (tmp_path / "masked.py").write_text(LINEAR)
    report, rows = conducted(vfc, "--release", "masked.py:build")
    assert rows["mask/bits"].tolist() == [1, 1, 0, 1, 0, 1, 0, 0]
    status = {(row["adversary"], row["goal"]): row for row in report["evidence"]}
    assert status["mask-latent", "task:side"]["status"] == "measured"
    assert status["mask-replay", "task:side"]["status"] == "not_applicable"
    assert "shaped like an image" in status["mask-replay", "task:side"]["reason"]
    assert "one mask for all images" in status["mask-bits", "lift:task:side"]["reason"]
    assert report["metrics"]["mask.gain"]["value"] is not None


def test_what_has_no_mask_or_hides_it_is_not_applicable(vfc, tmp_path):
    (tmp_path / "masked.py").write_text(LINEAR)
    for release, words in (
        ("identity", "no mask"),
        ("masked.py:closed", "does not show its encoder"),
    ):
        report, _ = conducted(vfc, "--release", release, "--fresh", expected=3)
        assert {row["status"] for row in report["evidence"]} == {"not_applicable"}
        for metric in ("mask.gain", "mask.recovery"):
            assert report["metrics"][metric]["value"] is None
            assert words in report["metrics"][metric]["reason"]


def test_saved_arrays_and_a_lower_threat_know_no_mask(vfc, small_npz):
    data = np.load(small_npz)
    np.savez("saved.npz", release=data["images"][:, ::2, ::2, 0] / 255.0, label=data["side"])
    code, _, err = vfc("attack", "--protocol", "mask-aware", "--release", "saved.npz", "--out", "out",
                       "--budget", "smoke", "--executor", "local", quick=False)  # fmt: skip
    assert code == 3, err  # nothing was measured
    with open("out/report.json", encoding="utf-8") as file:
        assert "no defense to ask" in json.load(file)["metrics"]["mask.gain"]["reason"]
    report, _ = conducted(vfc, "--release", "vfc", "--threat", "L2", "--fresh", expected=3)
    assert "--threat L4" in report["metrics"]["mask.gain"]["reason"]
