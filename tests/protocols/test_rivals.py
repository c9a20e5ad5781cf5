"""From L3 on everybody who attacked the task label competes for the strongest, under the same rules as the ladder."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from protocols.evaluation.board import Attempt, Board, Entry
from protocols.evaluation.label_metrics import TargetRows
from protocols.evaluation.score_board import Aspect, ScoreBoard, Spot
from protocols.evaluation.score_board import Attempt as Reconstructed
from protocols.task_label.ladder import against_everybody

from adversaries.threat import LEVELS
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Findings
from protocols.evaluation.cross_protocol import from_board, from_scores

N = 400
COST = {"seconds": 0.0, "gradient_steps": 0, "queries": 0, "peak_bytes": 0}


def rows(share, n):
    return (np.arange(n) < round(share * n)).astype(np.uint8)


def measured(validation, targets, *, chance=0.5, flags=()):
    return Outcome(
        status="measured",
        validation=rows(validation, N // 4),
        targets=rows(targets, N),
        chance=chance,
        cost=COST,
        flags=flags,
    )


def board_of(name, level, validation, targets, *, shuffled=0.5):
    board = Board(
        candidates=[Candidate(adversary=name)], levels=[level], seeds=(0,), grid=(1, "all"), floor=rows(0.5, N),
        readers=frozenset({0}),
    )  # fmt: skip
    attempt = Attempt(0, "all")
    board.outcomes[Entry(attempt, "attack", 0)] = measured(validation, targets)
    board.outcomes[Entry(attempt, "ceiling", 0)] = measured(1.0, 1.0)
    board.outcomes[Entry(attempt, "shuffled", 0)] = measured(shuffled, shuffled)
    return board


def images_of(read, *, targets=N, shuffled=0.5, flags=(), control=True):
    """A decoder whose reconstructions two models read; `read` has shares on validation and targets by model."""
    board = ScoreBoard(
        candidates=[Candidate(adversary="decoder"), Candidate(adversary="mean-image")],
        levels=["L3", "L3"], seeds=(0,), grid=(100, "all"), blind=frozenset({1}),
    )  # fmt: skip

    def outcome(share, flags=()):
        arrays = {"targets.majority": np.array([0.5])}
        for model, (validation, graded) in share.items():
            arrays[f"validation.read.{model}"] = rows(validation, N // 4)
            arrays[f"targets.read.{model}"] = rows(graded, targets)
        return Outcome(status="measured", arrays=arrays, cost=COST, flags=flags)

    attempt = Reconstructed(0, "all")
    board.outcomes[Spot(attempt, "attack", 0)] = outcome(read, flags)
    board.outcomes[Spot(Reconstructed(0, 100), "attack", 0)] = outcome(dict.fromkeys(read, (1.0, 1.0)))
    board.outcomes[Spot(attempt, "ceiling", 0)] = outcome(dict.fromkeys(read, (1.0, 1.0)))
    if control:
        board.outcomes[Spot(attempt, "shuffled", 0)] = outcome(dict.fromkeys(read, (shuffled, shuffled)))
    board.outcomes[Spot(Reconstructed(1, None), "attack", 0)] = outcome(dict.fromkeys(read, (1.0, 1.0)))
    return board


def readings(board, models=("mlp",)):
    aspect = Aspect(name="inversion.reader_accuracy", goal="task:y", array="read", variants=models)
    return from_scores(board, aspect)


class Asked:
    """As much of a study as the numbers need."""

    def __init__(self, threat):
        self.threat, self.levels = threat, LEVELS[: LEVELS.index(threat) + 1]
        self.rows = {}
        target = TargetRows(release=rows(0.9, N))
        self.prepared = SimpleNamespace(
            world=SimpleNamespace(train=range(100)), dataset=SimpleNamespace(classes={"y": 2}),
            parts=SimpleNamespace(task="y"), target=target,
        )  # fmt: skip


def strongest(board, rivals, threat="L4"):
    found = [Findings(ladder=board), Findings(rivals=rivals)]
    return against_everybody(Asked(threat), found)


@pytest.mark.parametrize(("theirs", "expected"), [((0.9, 0.8), 0.8), ((0.6, 0.95), 0.7)])
def test_the_best_on_validation_is_chosen_whatever_its_protocol(theirs, expected):
    ladder = board_of("linear", "L2", 0.7, 0.7)
    found = strongest(ladder, from_board(board_of("mask-replay", "L4", *theirs)))
    assert found["adaptive.accuracy"].value == pytest.approx(expected)
    # Whoever is clearly stronger on the targets and was not chosen is told.
    assert ("SELECTION_MISSED" in found["adaptive.accuracy"].flags) == (expected == 0.7)


def test_who_is_above_the_threat_level_does_not_count():
    rivals = from_board(board_of("mask-replay", "L4", 0.9, 0.9))
    found = strongest(board_of("linear", "L2", 0.7, 0.7), rivals, "L3")
    assert found["adaptive.accuracy"].value == pytest.approx(0.7)


def test_a_model_that_reads_reconstructions_competes_with_the_most_pairs():
    rivals = readings(images_of({"mlp": (0.6, 0.6), "vgg11": (0.8, 0.82)}), ("mlp", "vgg11"))
    assert [(r.candidate.name, r.level) for r in rivals] == [("decoder mlp", "L3"), ("decoder vgg11", "L3")]
    found = strongest(board_of("linear", "L2", 0.7, 0.7), rivals)
    assert found["adaptive.accuracy"].value == pytest.approx(0.82)
    assert found["adaptive.suppression_ratio"].value == pytest.approx(0.9 / 0.82)
    assert found["adaptive.leakage"].value == pytest.approx((0.82 - 0.5) / 0.5)
    assert "CRASHED" not in found["adaptive.accuracy"].flags


def test_who_was_graded_on_some_targets_only_is_held_against_the_chosen_on_the_same_ones():
    ladder = board_of("linear", "L2", 0.7, 0.7)
    # The chosen one is right about the first .7 of all targets, so about all of these.
    found = strongest(ladder, readings(images_of({"mlp": (0.9, 1.0)}, targets=100)))
    assert found["adaptive.accuracy"].flags == ()
    ladder = board_of("linear", "L2", 0.7, 0.7)
    ladder.outcomes[Entry(Attempt(0, "all"), "attack", 0)] = replace(
        measured(0.7, 0.7), targets=np.flip(rows(0.7, N)).copy()
    )
    found = strongest(ladder, readings(images_of({"mlp": (0.9, 0.9)}, targets=100)))
    accuracy = found["adaptive.accuracy"]
    assert accuracy.value == pytest.approx(0.7)
    assert accuracy.flags == ("SELECTION_MISSED",)
    assert [(also.value, also.n) for also in accuracy.also] == [(0.9, 100)]
    # The floor is right about all of these, which caps the ratio.
    assert found["adaptive.suppression_ratio"].also[0].value == pytest.approx(1.0)
    assert found["adaptive.leakage"].flags == ("SELECTION_MISSED",)


def test_nothing_changes_up_to_l2_or_without_the_ladder():
    rivals = from_board(board_of("mask-replay", "L4", 0.9, 0.9))
    assert strongest(board_of("linear", "L2", 0.7, 0.7), rivals, "L2") == {}
    assert against_everybody(Asked("L4"), [Findings(rivals=rivals)]) == {}
    assert strongest(board_of("linear", "L2", 0.7, 0.7), []) == {}


def test_what_is_known_of_a_rival_comes_along():
    theirs = board_of("mask-replay", "L4", 0.9, 0.8)
    theirs.trained = theirs.calibrated = frozenset({0})
    ladder = board_of("linear", "L2", 0.7, 0.7)
    ladder.unchecked, ladder.common = True, ("UNCALIBRATED",)
    found = strongest(ladder, from_board(theirs))
    assert found["adaptive.accuracy"].flags == ("CONVERGENCE_UNCHECKED",)


def test_a_dishonest_rival_is_dropped_and_told():
    for images in (
        images_of({"mlp": (0.9, 0.9)}, shuffled=0.8),
        images_of({"mlp": (0.9, 0.9)}, flags=("NONFINITE_GUESS",)),
    ):
        found = strongest(board_of("linear", "L2", 0.7, 0.7), readings(images))
        assert found["adaptive.accuracy"].value == pytest.approx(0.7)
        assert {"SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS"} & set(found["adaptive.accuracy"].flags)


def test_a_choice_without_its_control_and_a_crash_are_doubts():
    uncontrolled = readings(images_of({"mlp": (0.9, 0.9)}, control=False))
    assert "CRASHED" in strongest(board_of("linear", "L2", 0.7, 0.7), uncontrolled)["adaptive.accuracy"].flags
    crashed = images_of({"mlp": (0.9, 0.9)})
    crashed.outcomes[Spot(Reconstructed(0, "all"), "attack", 0)] = Outcome.empty("failed", "boom")
    found = strongest(board_of("linear", "L2", 0.7, 0.7), readings(crashed))
    assert found["adaptive.accuracy"].value == pytest.approx(0.7)
    assert "CRASHED" in found["adaptive.accuracy"].flags
