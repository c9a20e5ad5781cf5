"""Choices, controls and flags, on outcomes written by hand."""

import pytest

from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.leaderboard import Contestant
from protocols.evaluation.results import Attempt, Competitor
from tests.protocols.builders import board, change, chosen, enter, fill, flags_of, missed, outcome


def test_the_choice_is_made_on_validation_and_never_on_the_targets():
    b = board("a", "b")
    lucky = fill(b, 0, attack=0.95, validation=0.6)
    strong = fill(b, 1, attack=0.70, validation=0.8)
    assert chosen(b, [lucky, strong]) == strong


def test_equals_on_validation_go_to_the_higher_ceiling_then_to_the_first_named():
    b = board("a", "b", "c")
    weak = fill(b, 0, attack=0.5, ceiling=0.6)
    able = fill(b, 1, attack=0.5, ceiling=0.9)
    same = fill(b, 2, attack=0.5, ceiling=0.9)
    assert chosen(b, [weak, able, same]) == able


def test_an_adversary_that_ignores_the_release_is_caught_by_its_ceiling():
    b = board("blind", "able")
    blind = fill(b, 0, attack=0.5, ceiling=0.5, shuffled=0.5)
    able = fill(b, 1, attack=0.9, ceiling=0.9, shuffled=0.5)
    assert "CEILING_MISSED" in flags_of(b, blind)
    assert "AT_FLOOR" in flags_of(b, blind)
    assert flags_of(b, able) == ()


def test_without_a_ceiling_nothing_is_trusted():
    b = board("a")
    assert "CEILING_MISSED" in flags_of(b, fill(b, 0, attack=0.9, ceiling=None, shuffled=0.5))


def test_an_adversary_above_chance_on_shuffled_labels_is_dropped():
    b = board("cheat", "honest")
    cheat = fill(b, 0, attack=0.99, shuffled=0.9)
    honest = fill(b, 1, attack=0.7, shuffled=0.5)
    assert b.dishonest(cheat) == ("SHUFFLED_ABOVE_CHANCE",)
    assert chosen(b, [cheat, honest]) == honest
    assert missed(b, honest, [cheat, honest]) == []


def test_chance_alone_does_not_raise_the_shuffled_flag():
    b = board("a")
    assert b.dishonest(fill(b, 0, attack=0.9, shuffled=0.55)) == ()


def test_guesses_that_are_not_finite_drop_the_adversary():
    b = board("a")
    attempt = fill(b, 0, attack=0.9, flags=("NONFINITE_GUESS",))
    assert chosen(b, [attempt]) is None


@pytest.mark.parametrize(("doubled", "flagged"), [(0.80, False), (0.81, False), (0.95, True), (0.60, False)])
def test_twice_the_training_may_not_make_the_attack_clearly_stronger(doubled, flagged):
    b = board("a")
    attempt = fill(b, 0, attack=0.8, shuffled=0.5, doubled=doubled)
    assert ("NOT_CONVERGED" in flags_of(b, attempt)) is flagged


def test_a_clearly_stronger_rival_on_the_targets_was_missed_by_selection():
    b = board("chosen", "rival", "similar")
    first = fill(b, 0, attack=0.7, validation=0.9)
    rival = fill(b, 1, attack=0.9, validation=0.8)
    similar = fill(b, 2, attack=0.71, validation=0.8)
    everyone = [first, rival, similar]
    assert chosen(b, everyone) == first
    assert missed(b, first, everyone) == [rival]


def test_a_crash_of_any_candidate_is_known():
    b = board("a", "b")
    a = fill(b, 0, attack=0.9)
    broken = Attempt(1, "all")
    enter(b, broken, "attack", Outcome.empty("failed", "ValueError: no"))
    assert b.results.crashed([a, broken])
    assert not b.results.crashed([a])
    assert chosen(b, [a, broken]) == a


def test_attempts_below_l2_take_no_labels_and_the_twin_stays_apart():
    b = board("frozen", "linear", "twin", levels=("L0", "L2", "L2"))
    change(b, 2, candidate=Candidate(adversary="twin", headline=False))
    assert b.results.attempts(1) == [Attempt(0, None), Attempt(1, 1)]
    assert b.results.attempts() == [Attempt(0, None)]
    assert b.results.attempts("all", levels=["L2"], twin=True) == [Attempt(1, "all"), Attempt(2, "all")]


def test_on_the_images_only_those_compete_that_were_measured_there():
    b = board("a", "b")
    elsewhere = fill(b, 0, attack=0.9, ceiling=None)
    there = fill(b, 1, attack=0.6, ceiling=0.7)
    assert chosen(b, [elsewhere, there]) == elsewhere
    assert chosen(b, [elsewhere, there], "ceiling") == there
    only = Attempt(1, 1)
    enter(b, only, "ceiling", outcome(0.95))
    assert chosen(b, [there, only], "ceiling") == only


def test_one_crashed_control_of_several_seeds_is_enough_to_doubt():
    b = board("a", "b", seeds=(0, 1))
    for position in (0, 1):
        for seed in (0, 1):
            for arm, share in (("attack", 0.9 - 0.1 * position), ("ceiling", 0.9), ("shuffled", 0.5)):
                enter(b, Attempt(position, "all"), arm, outcome(share), seed=seed)
    attempts = [Attempt(0, "all"), Attempt(1, "all")]
    assert chosen(b, attempts) == attempts[0]
    enter(b, attempts[0], "shuffled", Outcome.empty("failed", "boom"), seed=1)
    assert b.results.control_failed(attempts[0])
    assert chosen(b, attempts) == attempts[1]


def test_whoever_may_still_be_as_strong_could_decide_and_who_is_clearly_weaker_could_not():
    b = board("best", "near", "far")
    best, near = fill(b, 0, attack=0.8), fill(b, 1, attack=0.78)
    attempts = [best, near, fill(b, 2, attack=0.5)]
    assert [each.attempt for each in b.contenders(Contestant(best), attempts)] == [near]


def test_everybody_is_controlled_and_tried_with_every_budget_unless_said_otherwise():
    plain = Competitor(candidate=Candidate(adversary="a"), level="L2")
    assert (plain.grows, plain.shuffles) == (True, True)
    assert (plain.trains, plain.blind, plain.calibrated) == (False, False, False)
