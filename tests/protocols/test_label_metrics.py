"""From outcomes written by hand to the catalog's numbers."""

import numpy as np
import pytest
from protocols.evaluation.board import Attempt, Entry
from protocols.evaluation.label_metrics import LabelMetrics, TargetRows, target_metrics

from adversaries.statistics import levels
from protocols.engine.task import Outcome
from tests.protocols.test_board import N, board, fill, hits


def metrics(b, target=0.9):
    rows = None if target is None else hits(target, 7)
    return LabelMetrics(board=b, target=TargetRows(release=rows, clean=rows), per_class=60.0, rows={})


def test_suppression_is_the_target_over_the_chosen_attack_on_the_same_targets():
    b = board("a")
    fill(b, 0, attack=0.6, shuffled=0.5)
    numbers = metrics(b)
    value = numbers.suppression([Attempt(0, "all")])
    assert value.value == pytest.approx(0.9 / 0.6)
    assert value.flags == ()


def test_suppression_is_capped_by_the_floor():
    b = board("a", floor=0.5)
    fill(b, 0, attack=0.1, shuffled=0.5)
    assert metrics(b).suppression([Attempt(0, "all")]).value == pytest.approx(0.9 / 0.5)


def test_leakage_is_one_where_attack_and_ceiling_agree_and_zero_at_the_floor():
    b = board("a", "blind")
    same = fill(b, 0, attack=0.9, ceiling=0.9, shuffled=0.5)
    assert metrics(b).leakage("x", [same]).value == pytest.approx(1.0)
    blind = fill(b, 1, attack=0.5, ceiling=0.6, shuffled=0.5, validation=0.5)
    b.outcomes[Entry(blind, "attack", 0)] = Outcome(
        status="measured", validation=hits(0.5, 1, 100), targets=b.floor, chance=0.5, cost={"gradient_steps": 0}
    )
    assert metrics(b).leakage("x", [blind]).reason is not None or metrics(b).leakage("x", [blind]).value == 0


def test_leakage_is_null_when_the_ceiling_is_not_above_the_floor():
    b = board("a")
    attempt = fill(b, 0, attack=0.5, ceiling=0.5)
    value = metrics(b).leakage("x", [attempt])
    assert value.value is None
    assert value.reason == "decided by the task label"


def test_leakage_can_be_recomputed_from_the_rows():
    b = board("a")
    attempt = fill(b, 0, attack=0.7, ceiling=0.9, shuffled=0.5)
    numbers = metrics(b)
    value = numbers.leakage("adaptive.leakage", [attempt])
    again = levels.recompute(value, 0.01, numbers.rows)
    assert again.low is not None
    assert again.low < value.low


def test_labels_needed_are_the_first_k_that_reaches_the_goal():
    b = board("a", grid=(1, 5, "all"), floor=0.5)
    for labels, accuracy in ((1, 0.55), (5, 0.75), ("all", 0.9)):
        fill(b, 0, labels, attack=accuracy, shuffled=0.5)
    numbers = metrics(b, target=0.9)
    half, most = numbers.labels_to(0.5), numbers.labels_to(0.9)
    assert (half.value, half.censored) == (5, False)
    assert (most.value, most.censored) == (60.0, False)


def test_labels_needed_are_censored_where_no_k_reaches_the_goal():
    b = board("a", grid=(1, "all"), floor=0.5)
    for labels in (1, "all"):
        fill(b, 0, labels, attack=0.52, shuffled=0.5)
    value = metrics(b, target=0.9).labels_to(0.5)
    assert (value.value, value.censored) == (60.0, True)


def test_a_missed_rival_is_judged_too():
    b = board("chosen", "rival")
    chosen = fill(b, 0, attack=0.7, validation=0.9, shuffled=0.5)
    rival = fill(b, 1, attack=0.9, validation=0.8, shuffled=0.5)
    value = metrics(b).accuracy([chosen, rival])
    assert "SELECTION_MISSED" in value.flags
    assert [other.value for other in value.also] == [pytest.approx(0.9)]


def test_a_crashed_candidate_and_a_dropped_one_leave_their_flags_on_the_number():
    b = board("a", "crashed", "cheat")
    a = fill(b, 0, attack=0.7, shuffled=0.5)
    cheat = fill(b, 2, attack=0.99, shuffled=0.9)
    crashed = Attempt(1, "all")
    b.outcomes[Entry(crashed, "attack", 0)] = Outcome.empty("failed", "boom")
    value = metrics(b).accuracy([a, crashed, cheat])
    assert value.value == pytest.approx(0.7)
    assert {"CRASHED", "SHUFFLED_ABOVE_CHANCE"} <= set(value.flags)


def test_without_a_target_ratios_are_unknown_and_accuracies_are_not():
    b = board("a")
    attempt = fill(b, 0, attack=0.7, shuffled=0.5)
    numbers = metrics(b, target=None)
    assert numbers.suppression([attempt]).value is None
    assert numbers.accuracy([attempt]).value == pytest.approx(0.7)
    assert numbers.labels_to(0.5).value is None
    assert target_metrics(TargetRows(), "no target")["target.accuracy"].reason == "no target"


def test_retention_is_release_over_clean():
    rows = TargetRows(release=hits(0.6, 1), clean=hits(0.8, 1))
    assert target_metrics(rows, "")["target.retention"].value == pytest.approx(0.75)
    assert np.sum(rows.clean) == 0.8 * N
