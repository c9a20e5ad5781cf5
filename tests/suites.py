"""A tiny suite on disk, made of noise, for tests."""

import numpy as np
import torch

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.evidence import Arms, AttackBudget, Evidence, Threat
from adversaries.statistics import estimates
from protocols.suite.freezing import Freezer
from protocols.suite.making import FROZEN, Maker
from reports.model.report import Dataset, PartOfData, ReleaseFacts
from reports.model.storage import load, write
from reports.studies.bench.data import Entry
from tests.reports.builder import build
from vfc.artifact import write_bytes
from vfc.release import tensor_digest

TARGETS = 200
LABELS = {"side": 2, "half": 2}


def world(seed=0):
    """Images of noise; the release is the image; the target model is right but on every tenth target."""
    generator = torch.Generator().manual_seed(seed)

    def part(n):
        images = torch.rand((n, 1, 2, 2), generator=generator)
        labels = {name: torch.randint(0, k, (n,), generator=generator) for name, k in LABELS.items()}
        prediction = labels["side"].clone()
        prediction[::10] = 1 - prediction[::10]
        return Part(images=images, release=images + 1, labels=labels, prediction=prediction)

    return EvaluationData(train=part(60), validation=part(20), targets=part(TARGETS), classes=LABELS)


def attack(hits, *, adversary="linear", labels=10, level="L2", validation=0.5, goal="task:side", health=()):
    """Evidence of one attack whose rows are kept, and those rows."""
    hits = np.asarray(hits, np.uint8)
    key = f"adaptive-probe/{goal}/{adversary}@{labels}/0"
    value = estimates.rate(int(hits.sum()), len(hits)).model_copy(update={"rows": key})
    row = Evidence(
        protocol="adaptive-probe", adversary=adversary, goal=goal, seed=0, status="measured",
        threat=Threat(level=level, knows=(), budget=AttackBudget(labels_per_class=labels)),
        arms=Arms(attack=value), metrics={"validation": estimates.rate(int(20 * validation), 20)}, health=health,
    )  # fmt: skip
    return row, {key: hits}


def suite(folder, *, name="tiny-1", data=None, attacks=None, defense="identity"):
    """A sealed suite of one defense in a folder."""
    data = data or world()
    freezer = Freezer(suite=name, seed=0, labels=(1, 10), attributes=("half",))
    work = folder / "work"
    for file, arrays in freezer.arrays(data, "side", defense).items():
        from safetensors.torch import save

        path = work / defense / FROZEN / f"{file}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(save({key: value.contiguous().clone() for key, value in arrays.items()}), path)
    found = attacks or [attack([1, 0] * (TARGETS // 2)), attack([1] * TARGETS, goal="attribute:half", labels="all")]
    report = build(
        evidence=tuple(row for row, _ in found),
        dataset=Dataset(
            name="tiny", digest="d", task="side", classes={**LABELS, "unasked": 3}, split="halves",
            parts={"targets": PartOfData(size=TARGETS, digest="t")},
        ),
        release=ReleaseFacts(
            kind="registered", name=defense, digest=tensor_digest(data.targets.release), shape=(1, 2, 2),
            dtype="float32",
        ),
    )  # fmt: skip
    write(report, {key: rows for _, each in found for key, rows in each.items()}, work / defense)
    maker = Maker(name=name, out=folder / name, labels=(1, 10), seed=0, budget="smoke")
    entries = [
        Entry(name=defense, defense=defense, folder=defense, report=load(work / defense)),
        Entry(name="nte", defense="nte", folder="nte", reason="no null space", applicable=False),
    ]
    return maker.assemble(work, entries)
