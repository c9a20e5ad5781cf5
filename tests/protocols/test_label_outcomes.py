"""What is kept of a graded attack on a label."""

import torch

from adversaries.evidence import Cost
from adversaries.goals.assess import Graded
from protocols.evaluation.label_task import label_outcome


def graded(**facts):
    rows = torch.tensor([True, False, True])
    known = {
        "validation": rows, "targets": ~rows, "chance": 0.25, "agreement": 0.375, "exposed": (~rows, rows),
        "turned": rows, "picked": rows, "flags": ("AT_FLOOR",),
        "cost": Cost(seconds=1.5, gradient_steps=7, peak_bytes=0),
    }  # fmt: skip
    return Graded(**{**known, **facts})


def test_every_part_keeps_its_own_rows():
    found = label_outcome(graded(), by_class=False)
    kept = {name: rows.tolist() for name, rows in found.arrays.items()}
    assert kept == {
        "validation": [1, 0, 1], "targets": [0, 1, 0], "targets.chance": [0.25], "targets.agreement": [0.375],
        "targets.turned": [1, 0, 1],
        "validation.exposed": [0, 1, 0], "targets.exposed": [1, 0, 1], "targets.picked": [1, 0, 1],
    }  # fmt: skip
    assert (found.status, found.flags, found.cost["gradient_steps"]) == ("measured", ("AT_FLOOR",), 7)


def test_classes_are_kept_where_they_are_asked_for_and_graded():
    classes = torch.tensor([[1, 0]]), torch.tensor([[0, 1], [2, 2]])
    found = label_outcome(graded(classes=classes), by_class=True).arrays
    assert found["validation.classes"].tolist() == [[1, 0]]
    assert found["targets.classes"].tolist() == [[0, 1], [2, 2]]
    for facts, by_class in (({"classes": classes}, False), ({}, True)):
        assert "targets.classes" not in label_outcome(graded(**facts), by_class=by_class).arrays
