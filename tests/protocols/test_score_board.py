"""Who is chosen, who is doubtful, and what a number says, on outcomes made by hand."""

import numpy as np
import pytest
from protocols.evaluation.paired_findings import PairedFindings
from protocols.evaluation.score_board import Aspect, Attempt, Contestant, ScoreBoard, Spot

from adversaries.statistics import estimates, levels
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate

DECIBELS = Aspect(name="inversion.psnr", goal="reconstruction:psnr", array="psnr", unit="dB", hits=False, margin=0.5)
FOUND = Aspect(name="inversion.identification", goal="found", array="hit", variants=("nearest", "direction"))
COST = {"seconds": 0.0, "gradient_steps": 0, "queries": 0, "peak_bytes": 0}


def outcome(rng, psnr, found=(0.5, 0.5), *, n=200, beside=None, flags=()):
    arrays = {}
    for part, rows in (("validation", n // 4), ("targets", n)):
        arrays[f"{part}.psnr"] = psnr + rng.normal(size=rows)
        arrays[f"{part}.chance"] = np.full(rows, 0.01)
        arrays[f"{part}.beside"] = (psnr if beside is None else beside) + rng.normal(size=rows)
        for rule, share in zip(FOUND.variants, found, strict=True):
            arrays[f"{part}.hit.{rule}"] = (np.arange(rows) < share * rows).astype(np.uint8)
    return Outcome(status="measured", arrays=arrays, flags=tuple(flags), cost=COST)


def board_of(**attacks):
    """A board whose last candidate is the floor's guesser; every attack has a good ceiling and a clean control."""
    rng = np.random.default_rng(0)
    names = [*attacks, "mean-image"]
    board = ScoreBoard(
        candidates=[Candidate(adversary=name) for name in names],
        levels=["L4" if name == "white" else "L3" for name in names],
        seeds=(0,),
        grid=(100, "all"),
        blind=frozenset({len(names) - 1}),
        floors={"hit": np.full(200, 0.01)},
    )
    for position, (psnr, found) in enumerate(attacks.values()):
        attempt = Attempt(position, None)
        board.outcomes[Spot(attempt, "attack", 0)] = outcome(rng, psnr, found)
        board.outcomes[Spot(attempt, "ceiling", 0)] = outcome(rng, 60.0, (1.0, 1.0))
        board.outcomes[Spot(attempt, "shuffled", 0)] = outcome(rng, 10.0, (0.01, 0.01))
    board.outcomes[Spot(Attempt(len(attacks), None), "attack", 0)] = outcome(rng, 11.0, (0.01, 0.01))
    return board


def findings(board):
    return PairedFindings(board=board, protocol="inversion", sidecar={}, beside={})


def test_the_best_on_validation_is_chosen_for_every_aspect_by_itself():
    board = board_of(weak=(14.0, (0.9, 0.2)), strong=(20.0, (0.3, 0.5)))
    tried = board.tried()
    assert board.choose(DECIBELS, board.contestants(DECIBELS, tried)) == Contestant(Attempt(1, None))
    assert board.choose(FOUND, board.contestants(FOUND, tried)) == Contestant(Attempt(0, None), "nearest")
    value = findings(board).metric(DECIBELS)
    rows = board.outcomes[Spot(Attempt(1, None), "attack", 0)].arrays["targets.psnr"]
    assert value.value == pytest.approx(rows.mean())
    assert value.low == pytest.approx(estimates.mean(rows, "dB").low)
    assert value.flags == ()
    assert findings(board).metric(FOUND).value == pytest.approx(0.9)


def test_who_reads_few_rows_is_compared_on_those_rows():
    board = board_of(full=(15.0, (0.5, 0.5)))
    rng = np.random.default_rng(1)
    board.candidates.insert(1, Candidate(adversary="few"))
    board.levels.insert(1, "L4")
    board.blind = frozenset({2})
    floor = board.outcomes.pop(Spot(Attempt(1, None), "attack", 0))
    # The first rows are easy for everybody, the floor's guesser too.
    for each in (floor, board.outcomes[Spot(Attempt(0, None), "attack", 0)]):
        each.arrays["validation.psnr"][:10] += 20
    board.outcomes[Spot(Attempt(2, None), "attack", 0)] = floor
    few = outcome(rng, 34.0)
    few = Outcome(status="measured", cost=COST, arrays={name: rows[:10] for name, rows in few.arrays.items()})
    board.outcomes[Spot(Attempt(1, None), "attack", 0)] = few
    contestants = board.contestants(DECIBELS, board.tried())
    assert board.strength(DECIBELS, Contestant(Attempt(1, None))) < 5
    assert board.choose(DECIBELS, contestants).attempt.candidate == 0
    assert "TOO_FEW_TARGETS" in board.doubts(DECIBELS, Contestant(Attempt(1, None)))


def test_a_rival_that_selection_missed_is_named_and_judged_too():
    board = board_of(lucky=(20.0, (0.5, 0.5)), better=(19.0, (0.5, 0.5)))
    arrays = board.outcomes[Spot(Attempt(1, None), "attack", 0)].arrays
    arrays["targets.psnr"] += 5
    value = findings(board).metric(DECIBELS)
    assert "SELECTION_MISSED" in value.flags
    assert value.also[0].value == pytest.approx(arrays["targets.psnr"].mean())


@pytest.mark.parametrize(("psnr", "found"), [(30.0, (0.01, 0.01)), (10.0, (0.2, 0.01)), (10.0, (0.01, 0.2))])
def test_success_on_shuffled_pairs_drops_an_adversary(psnr, found):
    board = board_of(honest=(15.0, (0.5, 0.5)), cheat=(40.0, (1.0, 1.0)))
    cheated = outcome(np.random.default_rng(2), psnr, found, beside=10.0)
    board.outcomes[Spot(Attempt(1, None), "shuffled", 0)] = cheated
    assert board.dishonest(Attempt(1, None)) == ("SHUFFLED_ABOVE_CHANCE",)
    value = findings(board).metric(DECIBELS)
    assert value.value < 16
    assert "SHUFFLED_ABOVE_CHANCE" in value.flags


def test_a_blind_adversary_has_its_ceiling_missed():
    board = board_of(ignorant=(9.0, (0.01, 0.01)))
    board.outcomes[Spot(Attempt(0, None), "ceiling", 0)] = outcome(np.random.default_rng(2), 9.0, (0.01, 0.01))
    assert {"CEILING_MISSED", "AT_FLOOR"} <= set(board.doubts(DECIBELS, Contestant(Attempt(0, None))))
    # The floor's guesser is the best: without anybody who sees, that says nothing.
    assert "CEILING_MISSED" in findings(board).metric(DECIBELS).flags
    assert "CEILING_MISSED" not in findings(board_of(sees=(9.0, (0.01, 0.01)))).metric(DECIBELS).flags


def test_without_controls_or_after_a_crash_nothing_is_trusted():
    board = board_of(fine=(20.0, (0.5, 0.5)))
    del board.outcomes[Spot(Attempt(0, None), "shuffled", 0)]
    assert "CRASHED" in findings(board).metric(DECIBELS).flags
    board = board_of(fine=(20.0, (0.5, 0.5)), broken=(1.0, (0.0, 0.0)))
    board.outcomes[Spot(Attempt(1, None), "attack", 0)] = Outcome.empty("failed", "boom")
    assert "CRASHED" in findings(board).metric(DECIBELS).flags
    (row,) = [row for row in findings(board).evidence(DECIBELS, absent=True) if row.status == "failed"]
    assert row.reason == "boom"


def test_more_knowledge_and_more_pairs_are_never_weaker_without_a_flag():
    board = board_of(black=(20.0, (0.5, 0.5)), white=(15.0, (0.5, 0.5)))
    flags = {row.adversary: row.health for row in findings(board).evidence(DECIBELS, absent=True)}
    assert "WEAKER_THAN_LOWER_LEVEL" in flags["white"]
    assert "WEAKER_THAN_LOWER_LEVEL" not in flags["black"]
    board = board_of(fine=(20.0, (0.5, 0.5)))
    rng = np.random.default_rng(3)
    for pairs, psnr in ((100, 20.0), ("all", 18.0)):
        for arm, level in (("attack", psnr), ("ceiling", 60.0), ("shuffled", 10.0)):
            board.outcomes[Spot(Attempt(0, pairs), arm, 0)] = outcome(rng, level, (0.01, 0.01))
    rows = findings(board).evidence(DECIBELS, absent=True)
    assert [row.settings["pairs"] for row in rows if "BUDGET_NOT_MONOTONE" in row.health] == ["all"]


def test_training_twice_as_long_must_not_make_it_clearly_stronger():
    board = board_of(slow=(20.0, (0.5, 0.5)))
    rng = np.random.default_rng(4)
    for more, flagged in ((20.2, False), (22.0, True)):
        board.outcomes[Spot(Attempt(0, None), "attack", 0, True)] = outcome(rng, more)
        assert ("NOT_CONVERGED" in board.doubts(DECIBELS, Contestant(Attempt(0, None)))) is flagged


def test_of_equals_more_pairs_win():
    board = board_of(fine=(20.0, (0.5, 0.5)))
    same = board.outcomes.pop(Spot(Attempt(0, None), "attack", 0))
    for pairs in (100, "all"):
        board.outcomes[Spot(Attempt(0, pairs), "attack", 0)] = same
    assert board.choose(DECIBELS, board.contestants(DECIBELS, board.tried())).attempt.pairs == "all"


def test_seeds_are_repeats_and_rows_are_kept():
    board = board_of(fine=(20.0, (0.5, 0.5)))
    board.seeds = (0, 1)
    for spot, found in list(board.outcomes.items()):
        board.outcomes[spot._replace(seed=1)] = found
    sidecar = {}
    found = PairedFindings(board=board, protocol="inversion", sidecar=sidecar, beside={})
    value = found.metric(DECIBELS)
    assert len(value.per_seed) == 2
    assert value.n == 200
    assert set(value.rows.split(",")) <= set(sidecar)
    assert levels.recompute(value, 0.01, sidecar).low < value.low
