"""From L3 on everybody who attacked the task label competes for the strongest, under the same rules as the ladder."""

import numpy as np
import pytest

from protocols.board import Attempt, Board, Entry
from protocols.candidate import Candidate
from protocols.cells import Outcome
from protocols.label_metrics import LabelMetrics, TargetRows
from protocols.rivals import from_board, from_scores, let_in
from protocols.score_board import Aspect, ScoreBoard, Spot
from protocols.score_board import Attempt as Reconstructed

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
    return from_scores(board, aspect, N)


def strongest(board, rivals, levels=("L2", "L3", "L4")):
    let_in(board, rivals)
    numbers = LabelMetrics(board=board, target=TargetRows(release=rows(0.9, N)), per_class=10, rows={})
    return numbers.strongest(levels)


@pytest.mark.parametrize(("theirs", "expected"), [((0.9, 0.8), 0.8), ((0.6, 0.95), 0.7)])
def test_the_best_on_validation_is_chosen_whatever_its_protocol(theirs, expected):
    ladder = board_of("linear", "L2", 0.7, 0.7)
    found = strongest(ladder, from_board(board_of("mask-replay", "L4", *theirs)))
    assert found["adaptive.accuracy"].value == pytest.approx(expected)
    # Whoever is clearly stronger on the targets and was not chosen is told.
    assert ("SELECTION_MISSED" in found["adaptive.accuracy"].flags) == (expected == 0.7)


def test_who_is_above_the_threat_level_does_not_count():
    found = strongest(
        board_of("linear", "L2", 0.7, 0.7), from_board(board_of("mask-replay", "L4", 0.9, 0.9)), ("L2", "L3")
    )
    assert found["adaptive.accuracy"].value == pytest.approx(0.7)


def test_a_model_that_reads_reconstructions_competes_with_the_most_pairs():
    rivals = readings(images_of({"mlp": (0.6, 0.6), "vgg11": (0.8, 0.82)}), ("mlp", "vgg11"))
    assert [(r.candidate.name, r.level) for r in rivals] == [("decoder mlp", "L3"), ("decoder vgg11", "L3")]
    found = strongest(board_of("linear", "L2", 0.7, 0.7), rivals)
    assert found["adaptive.accuracy"].value == pytest.approx(0.82)
    assert found["adaptive.suppression_ratio"].value == pytest.approx(0.9 / 0.82)
    assert found["adaptive.leakage"].value == pytest.approx((0.82 - 0.5) / 0.5)
    assert "CRASHED" not in found["adaptive.accuracy"].flags


def test_who_was_graded_on_some_targets_only_stays_apart():
    assert readings(images_of({"mlp": (0.9, 0.9)}, targets=100)) == []


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
