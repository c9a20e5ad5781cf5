"""Releases from which an informed reader reads the label are never called safe, whatever their defender asks for.

All of them, on digits, are in `benchmarks/hostile.py`; here are some, on little data.
"""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import hostile_defenses
from benchmarks.hostile import CLAIMS, DEFENSES

NAMES = [claim.name for claim in CLAIMS]


def data(rows=400, classes=10):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    images = torch.rand(rows, 1, 8, 8, generator=generator) * 0.2
    images[torch.arange(rows), 0, labels % 8, labels // 8] += 2.0
    return images, labels


@pytest.mark.parametrize("name", NAMES)
def test_an_informed_reader_has_the_label_or_the_claim_is_about_something_else(name):
    images, labels = data()
    defense = getattr(hostile_defenses, name)(10)
    defense.fit(images, labels)
    torch.manual_seed(0)
    right = (defense.predict(defense(images)).argmax(1) == labels).double().mean()
    # Under noise some pictures are taken for others.
    told = {"ByHash": 0.55, "OpenForFew": 1 / 16 + 15 / 160, "NoisyNextPicture": 0.94}.get(name, 1.0)
    assert right == pytest.approx(told, abs=0.06)


@pytest.mark.parametrize(
    ("name", "protocol", "gate", "flag"),
    [
        # Without the ladder only the four probes of the target control vouch for what no attack found.
        ("ThreeSigns", "linkage", "linkage.image.top1 <= 0.9", "TARGET_UNMATCHED"),
        # What the release itself does forbids that any gate holds, also one that is true.
        ("CallOffset", "transfer", "target.accuracy >= 0.3", "CALL_DEPENDENT"),
        ("Remembers", "transfer", "target.accuracy >= 0.8", ""),
    ],
)
def test_it_is_never_called_safe(vfc, name, protocol, gate, flag):
    release = f"{DEFENSES}:{name}"
    code, _, errors = vfc("attack", "--release", release, "--protocol", protocol, "--out", "o", "--gate", gate)
    assert code == (3 if flag else 1), errors
    report = json.loads(Path("o/report.json").read_text())
    (found,) = report["gates"]
    assert found["outcome"] == report["verdict"] == ("inconclusive" if flag else "broken")
    assert flag in found["reason"]


def test_one_clean_model_at_chance_does_not_hide_that_others_are_below_it(vfc):
    options = ("--dataset", "digits", "--budget", "smoke", "--protocol", "transfer", "--out", "o")
    gate = ("--gate", "transfer.accuracy <= 0.5")
    code, _, errors = vfc("attack", "--release", f"{DEFENSES}:NoisyNextPicture", *options, *gate, quick=False)
    assert code == 3, errors
    report = json.loads(Path("o/report.json").read_text())
    assert "BELOW_FLOOR" in report["gates"][0]["reason"]
    chosen = report["gates"][0]["observed"]["candidate"]
    flags = {" ".join([row["adversary"], *row["settings"].values()]): row["health"] for row in report["evidence"]}
    assert "BELOW_FLOOR" not in flags[chosen]


@pytest.mark.parametrize("labels", ["oracle", "predicted"])
def test_a_defense_that_was_told_the_targets_labels_holds_no_gate(vfc, labels):
    options = ("--set", f"fmd.labels={labels}", "--set", "fmd.steps=3", "--protocol", "transfer", "--out", "o")
    code, _, errors = vfc("attack", "--release", "fmd", *options, "--gate", "target.accuracy >= 0.1")
    assert code == (3 if labels == "oracle" else 0), errors
    report = json.loads(Path("o/report.json").read_text())
    assert ("TRUE_LABELS" in report["gates"][0]["reason"]) is (labels == "oracle")
    assert all(("TRUE_LABELS" in row["health"]) is (labels == "oracle") for row in report["evidence"])
