"""Numbers of one attribute from outcomes written by hand."""

import numpy as np
import pytest

from adversaries.evidence import Value
from protocols.attribute.metrics import AttributeMetrics
from reports.gate.gate import Gate, judge
from tests.protocols.builders import board, enter, fill, hits, outcome
from tests.reports.builder import build

NAME = "attribute.y.worst_class_leakage"


def answers(*shares, seed=0):
    """Right and wrong about each class, as outcomes hold them."""
    found = outcome(0.5)
    for part, n in (("validation", 100), ("targets", 400)):
        found.arrays[f"{part}.classes"] = np.stack([hits(share, seed + 7 * i, n) for i, share in enumerate(shares)], 1)
    return found


def test_about_single_classes_everybody_is_judged_too():
    b = board("chosen", "rival", "weak", shuffles=True)
    attempts = [fill(b, position, attack=0.5, shuffled=0.5) for position in range(3)]
    # On the targets the rival is somewhat better about the second class, not so clearly that selection has missed it.
    for attempt, shares in zip(attempts, ((0.6, 0.56), (0.58, 0.62), (0.5, 0.5)), strict=True):
        enter(b, attempt, "attack", answers(*shares))
        enter(b, attempt, "ceiling", answers(0.95, 0.95))
    for attempt, shares in zip(attempts, ((0.7, 0.7), (0.6, 0.6), (0.5, 0.5)), strict=True):
        arrays = b.results.measured(attempt, "attack")[0].arrays
        arrays["validation.classes"] = np.stack([hits(share, 1, 100) for share in shares], 1)
    floors = np.stack([hits(0.5, 90 + i) for i in range(2)], 1)
    rows = {}
    metrics = AttributeMetrics(board=b, questions=(0, 1), floors=floors, rows=rows, originals=True)
    value = metrics.worst_class(NAME, attempts)
    assert (value.candidate, value.also) == ("chosen @all", ())
    assert value.value == pytest.approx(0.1 / 0.45)
    first = value.others[0]
    assert (first.candidate, first.value) == ("rival @all", pytest.approx(0.12 / 0.45))
    assert first.controlled
    assert first.rows in rows
    assert first.high > value.high
    between = (first.high + value.high) / 2
    (result,) = judge(build(metrics={NAME: value}), [Gate.parse(f"{NAME} <= {between}")], rows)
    assert result.outcome == "inconclusive"
    assert "of rival @all, which was not chosen" in result.reason
    assert all(isinstance(each, Value) and each.candidate for each in value.others)
