"""From outcomes written by hand to the catalog's numbers."""

from dataclasses import replace

import numpy as np
import pytest

from adversaries.statistics import levels
from protocols.engine.prepared import TargetRows
from protocols.engine.task import Outcome
from protocols.evaluation.metrics import LabelsNeeded, target_metrics
from protocols.evaluation.results import Attempt
from tests.protocols.builders import N, board, enter, fill, hits, measured, numbers


def labels_needed(found, share):
    results = found.board.results
    curve = {labels: results.attempts(labels, levels=("L0", "L1", "L2")) for labels in results.grid}
    return LabelsNeeded(numbers=found, curve=curve).reaching(share)


def test_suppression_is_the_target_over_the_chosen_attack_on_the_same_targets():
    b = board("a")
    fill(b, 0, attack=0.6, shuffled=0.5)
    found = numbers(b)
    value = found.suppression([Attempt(0, "all")])
    assert value.value == pytest.approx(0.9 / 0.6)
    assert value.flags == ()


def test_suppression_is_capped_by_the_floor():
    b = board("a", floor=0.5)
    fill(b, 0, attack=0.1, shuffled=0.5)
    assert numbers(b).suppression([Attempt(0, "all")]).value == pytest.approx(0.9 / 0.5)


def test_leakage_is_one_where_attack_and_ceiling_agree_and_zero_at_the_floor():
    b = board("a", "blind")
    same = fill(b, 0, attack=0.9, ceiling=0.9, shuffled=0.5)
    assert numbers(b).leakage("x", [same]).value == pytest.approx(1.0)
    blind = fill(b, 1, attack=0.5, ceiling=0.6, shuffled=0.5, validation=0.5)
    enter(b, blind, "attack", measured(hits(0.5, 1, 100), b.statistic.floor))
    assert numbers(b).leakage("x", [blind]).reason is not None or numbers(b).leakage("x", [blind]).value == 0


def test_the_ceiling_of_leakage_is_the_strongest_on_the_images_whoever_attacks():
    b = board("strong on releases", "strong on images")
    attempts = [
        fill(b, 0, attack=0.7, ceiling=0.8, shuffled=0.5),
        fill(b, 1, attack=0.6, ceiling=0.98, shuffled=0.5),
    ]
    for order in (attempts, attempts[::-1]):
        assert numbers(b).leakage("x", order).value == pytest.approx((0.7 - 0.5) / (0.98 - 0.5))


def test_leakage_is_null_when_the_ceiling_is_not_above_the_floor():
    b = board("a")
    attempt = fill(b, 0, attack=0.5, ceiling=0.5)
    value = numbers(b).leakage("x", [attempt])
    assert value.value is None
    assert value.reason == "decided by the task label"


def test_leakage_can_be_recomputed_from_the_rows():
    b = board("a")
    attempt = fill(b, 0, attack=0.7, ceiling=0.9, shuffled=0.5)
    found = numbers(b)
    value = found.leakage("adaptive.leakage", [attempt])
    again = levels.recompute(value, 0.01, found.rows)
    assert again.low is not None
    assert again.low < value.low


def test_labels_needed_are_the_first_k_that_reaches_the_goal():
    b = board("a", grid=(1, 5, "all"), floor=0.5)
    for labels, accuracy in ((1, 0.55), (5, 0.75), ("all", 0.9)):
        fill(b, 0, labels, attack=accuracy, shuffled=0.5)
    found = numbers(b, target=0.9)
    half, most = labels_needed(found, 0.5), labels_needed(found, 0.9)
    assert (half.value, half.censored) == (5, False)
    assert (most.value, most.censored) == (60.0, False)


def test_labels_needed_are_censored_where_no_k_reaches_the_goal():
    b = board("a", grid=(1, "all"), floor=0.5)
    for labels in (1, "all"):
        fill(b, 0, labels, attack=0.52, shuffled=0.5)
    value = labels_needed(numbers(b, target=0.9), 0.5)
    assert (value.value, value.censored) == (60.0, True)


def test_a_missed_rival_is_judged_too():
    b = board("chosen", "rival")
    chosen = fill(b, 0, attack=0.7, validation=0.9, shuffled=0.5)
    rival = fill(b, 1, attack=0.9, validation=0.8, shuffled=0.5)
    value = numbers(b).accuracy([chosen, rival])
    assert "SELECTION_MISSED" in value.flags
    assert [other.value for other in value.also] == [pytest.approx(0.9)]


def test_a_crashed_candidate_and_a_dropped_one_leave_their_flags_on_the_number():
    b = board("a", "crashed", "cheat")
    a = fill(b, 0, attack=0.7, shuffled=0.5)
    cheat = fill(b, 2, attack=0.99, shuffled=0.9)
    crashed = Attempt(1, "all")
    enter(b, crashed, "attack", Outcome.empty("failed", "boom"))
    value = numbers(b).accuracy([a, crashed, cheat])
    assert value.value == pytest.approx(0.7)
    assert {"CRASHED", "SHUFFLED_ABOVE_CHANCE"} <= set(value.flags)


def test_whom_the_floor_exposes_is_what_its_guesser_exposes():
    def found(share):
        arrays = {
            "validation.exposed": hits(share, n=100),
            "targets.exposed": hits(share),
            "targets.picked": hits(share),
        }
        usual = measured(hits(0.9, n=100), hits(0.9))
        return replace(usual, arrays={**usual.arrays, **arrays})

    for ceiling, missed in ((0.6, False), (0.02, True)):
        b = board("a", "majority", levels=("L2", "L0"))
        enter(b, Attempt(0, "all"), "attack", found(0.3))
        enter(b, Attempt(0, "all"), "ceiling", found(ceiling))
        assert "CEILING_MISSED" in numbers(b).exposed([Attempt(0, "all")]).flags  # no guesser was measured
        enter(b, Attempt(1, None), "attack", found(0.02))
        value = numbers(b).exposed([Attempt(0, "all"), Attempt(1, None)])
        assert value.value == pytest.approx(0.3)
        assert ("CEILING_MISSED" in value.flags) is missed
        assert "AT_FLOOR" not in value.flags
        assert numbers(b).exposing.floor(N).value == pytest.approx(0.02)


def test_a_number_from_a_part_of_the_training_has_not_converged():
    b = board("a")
    attempt = fill(b, 0, attack=0.7, shuffled=0.5)
    assert "NOT_CONVERGED" not in numbers(b).accuracy([attempt]).flags
    b.results.reach(attempt, "attack", 0.125)
    for value in (numbers(b).accuracy([attempt]), numbers(b).suppression([attempt])):
        assert "NOT_CONVERGED" in value.flags


def test_without_a_target_ratios_are_unknown_and_accuracies_are_not():
    b = board("a")
    attempt = fill(b, 0, attack=0.7, shuffled=0.5)
    found = numbers(b, target=None)
    assert found.suppression([attempt]).value is None
    assert found.accuracy([attempt]).value == pytest.approx(0.7)
    assert labels_needed(found, 0.5).value is None
    assert target_metrics(TargetRows(), "no target")["target.accuracy"].reason == "no target"


def test_retention_is_release_over_clean():
    rows = TargetRows(release=hits(0.6, 1), clean=hits(0.8, 1))
    assert target_metrics(rows, "")["target.retention"].value == pytest.approx(0.75)
    assert np.sum(rows.clean) == 0.8 * N


def test_what_the_target_makes_of_the_images_is_known_without_a_release():
    found = target_metrics(TargetRows(clean=hits(0.8, 1)), "no release")
    assert found["target.clean_accuracy"].value == pytest.approx(0.8)
    assert found["target.accuracy"].reason == found["target.retention"].reason == "no release"
    found = target_metrics(TargetRows(release=hits(0.6, 1)), "")
    reason = "nobody knows the target's predictions on the images (`clean_target`, `clean_prediction`)"
    assert found["target.clean_accuracy"].reason == reason
    assert found["target.accuracy"].value == pytest.approx(0.6)
