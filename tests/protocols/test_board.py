"""Choices, controls and flags, on outcomes written by hand."""

import numpy as np
import pytest
from protocols.evaluation.board import Attempt, Board, Entry

from protocols.engine.task import Outcome
from protocols.evaluation.protocol import Candidate

N = 400


def hits(share, seed=0, n=N):
    rows = np.zeros(n, np.uint8)
    rows[np.random.default_rng(seed).permutation(n)[: round(share * n)]] = 1
    return rows


def outcome(targets, validation=None, *, chance=0.5, flags=(), seed=0):
    rows = hits(targets, seed)
    return Outcome(
        status="measured",
        validation=hits(targets if validation is None else validation, seed, 100),
        targets=rows,
        chance=chance,
        flags=flags,
        cost={"gradient_steps": 10, "seconds": 1.0},
    )


def board(*names, grid=(1, "all"), floor=0.5, **options):
    return Board(
        candidates=[Candidate(adversary=name) for name in names],
        levels=["L2"] * len(names),
        seeds=(0,),
        grid=grid,
        floor=hits(floor, 99),
        **options,
    )


def fill(
    b, position, labels="all", *, attack, ceiling=0.9, shuffled=None, doubled=None, validation=None, flags=(), seed=0
):
    attempt = Attempt(position, labels)
    b.outcomes[Entry(attempt, "attack", 0)] = outcome(attack, validation, flags=flags, seed=seed)
    if ceiling is not None:
        b.outcomes[Entry(attempt, "ceiling", 0)] = outcome(ceiling)
    if shuffled is not None:
        b.outcomes[Entry(attempt, "shuffled", 0)] = outcome(shuffled)
    if doubled is not None:
        b.outcomes[Entry(attempt, "attack", 0, True)] = outcome(doubled, seed=seed)
    return attempt


def test_the_choice_is_made_on_validation_and_never_on_the_targets():
    b = board("a", "b")
    lucky = fill(b, 0, attack=0.95, validation=0.6)
    strong = fill(b, 1, attack=0.70, validation=0.8)
    assert b.choose([lucky, strong]) == strong


def test_equals_on_validation_go_to_the_higher_ceiling_then_to_the_first_named():
    b = board("a", "b", "c")
    weak = fill(b, 0, attack=0.5, ceiling=0.6)
    able = fill(b, 1, attack=0.5, ceiling=0.9)
    same = fill(b, 2, attack=0.5, ceiling=0.9)
    assert b.choose([weak, able, same]) == able


def test_an_adversary_that_ignores_the_release_is_caught_by_its_ceiling():
    b = board("blind", "able")
    blind = fill(b, 0, attack=0.5, ceiling=0.5, shuffled=0.5)
    able = fill(b, 1, attack=0.9, ceiling=0.9, shuffled=0.5)
    assert "CEILING_MISSED" in b.doubts(blind)
    assert "AT_FLOOR" in b.doubts(blind)
    assert b.doubts(able) == ()


def test_without_a_ceiling_nothing_is_trusted():
    b = board("a")
    assert "CEILING_MISSED" in b.doubts(fill(b, 0, attack=0.9, ceiling=None, shuffled=0.5))


def test_an_adversary_above_chance_on_shuffled_labels_is_dropped():
    b = board("cheat", "honest")
    cheat = fill(b, 0, attack=0.99, shuffled=0.9)
    honest = fill(b, 1, attack=0.7, shuffled=0.5)
    assert b.dishonest(cheat) == ("SHUFFLED_ABOVE_CHANCE",)
    assert b.choose([cheat, honest]) == honest
    assert b.missed(honest, [cheat, honest]) == []


def test_chance_alone_does_not_raise_the_shuffled_flag():
    b = board("a")
    assert b.dishonest(fill(b, 0, attack=0.9, shuffled=0.55)) == ()


def test_guesses_that_are_not_finite_drop_the_adversary():
    b = board("a")
    attempt = fill(b, 0, attack=0.9, flags=("NONFINITE_GUESS",))
    assert b.choose([attempt]) is None


@pytest.mark.parametrize(("doubled", "flagged"), [(0.80, False), (0.81, False), (0.95, True), (0.60, False)])
def test_twice_the_training_may_not_make_the_attack_clearly_stronger(doubled, flagged):
    b = board("a")
    attempt = fill(b, 0, attack=0.8, shuffled=0.5, doubled=doubled)
    assert ("NOT_CONVERGED" in b.doubts(attempt)) is flagged


def test_a_clearly_stronger_rival_on_the_targets_was_missed_by_selection():
    b = board("chosen", "rival", "similar")
    chosen = fill(b, 0, attack=0.7, validation=0.9)
    rival = fill(b, 1, attack=0.9, validation=0.8)
    similar = fill(b, 2, attack=0.71, validation=0.8)
    everyone = [chosen, rival, similar]
    assert b.choose(everyone) == chosen
    assert b.missed(chosen, everyone) == [rival]


def test_a_crash_of_any_candidate_is_known():
    b = board("a", "b")
    a = fill(b, 0, attack=0.9)
    broken = Attempt(1, "all")
    b.outcomes[Entry(broken, "attack", 0)] = Outcome.empty("failed", "ValueError: no")
    assert b.crashed([a, broken])
    assert not b.crashed([a])
    assert b.choose([a, broken]) == a


def test_attempts_below_l2_take_no_labels_and_the_twin_stays_apart():
    b = board("frozen", "linear", "twin")
    b.levels[0] = "L0"
    b.candidates[2] = Candidate(adversary="twin", headline=False)
    assert b.attempts(1) == [Attempt(0, None), Attempt(1, 1)]
    assert b.attempts() == [Attempt(0, None)]
    assert b.attempts("all", levels=["L2"], twin=True) == [Attempt(1, "all"), Attempt(2, "all")]
