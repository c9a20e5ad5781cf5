"""Releases from which an informed reader reads the label are never called safe, whatever their defender asks for.

All of them, on digits, are in `benchmarks/hostile.py`; here are some, on little data.
"""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import hostile_defenses
from benchmarks.hostile import CLAIMS, DEFENSES, READ

NAMES = [claim.name for claim in CLAIMS]
QUICK_ONES = ("ThreeSigns", "CallOffset", "ByHash", "OpenForFew")


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
    told = {"ByHash": 0.55, "OpenForFew": 1 / 16 + 15 / 160}.get(name, 1.0)
    assert right == pytest.approx(told, abs=0.06)


@pytest.mark.parametrize("name", QUICK_ONES)
def test_it_is_never_called_safe(vfc, name):
    (claim,) = (each for each in CLAIMS if each.name == name)
    gates = [gate.replace(READ, "adaptive.accuracy <= 0.7") for gate in claim.gates]  # two classes here, and no ten
    code, _, errors = vfc(
        "attack", "--release", f"{DEFENSES}:{name}", "--protocol", claim.protocol, "--out", "o",
        *(word for gate in gates for word in ("--gate", gate)),
    )  # fmt: skip
    assert code in (1, 3), errors
    report = json.loads(Path("o/report.json").read_text())
    assert {gate["outcome"] for gate in report["gates"]} <= {"broken", "inconclusive"}
    assert report["verdict"] == {1: "broken", 3: "inconclusive"}[code]
    if code == 3:
        assert any(flag in gate["reason"] for gate in report["gates"] for flag in ("TARGET_", "CALL_DEPENDENT"))
