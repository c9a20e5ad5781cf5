"""Which trials are run at which budget, answered by a runner that looks shares up."""

from dataclasses import dataclass, replace

import pytest

from protocols.engine.budget import get_budget
from protocols.evaluation.results import Attempt, Trial
from protocols.evaluation.schedule import Choice, Schedule
from tests.protocols.builders import board, change, chosen, flags_of, outcome

USUAL = {"ceiling": 0.95, "shuffled": 0.5}


@dataclass
class Lookup:
    """Answers trials; remembers the stages in their order."""

    says: object
    stages: list

    def run(self, stage, trials):
        if trials:
            self.stages.append((stage, list(trials)))
        return [outcome(self.says(trial)) for trial in trials]


def scheduled(shares, *, budget="smoke", trains=(), **more):
    """A board and what runs its trials; `shares` are by position and arm."""
    b = board(*(f"a{i}" for i in range(len(shares))), shuffles=True)
    for position in trains:
        change(b, position, trains=True)
    runner = Lookup(lambda trial: {**USUAL, **shares[trial.attempt.candidate]}[trial.arm], [])
    spent = replace(get_budget(budget), **more)
    return b, Schedule(results=b.results, budget=spent, runner=runner, task=lambda trial: trial, name="attacks")


def run(b, schedule, **options):
    schedule.attack()
    schedule.double()
    schedule.control(lambda: [Choice(board=b, attempts=b.results.attempts(k), **options) for k in b.results.grid])


def ran(b, arm, *, doubled=False):
    return {trial.attempt for trial in b.results.outcomes if (trial.arm, trial.doubled) == (arm, doubled)}


EVERYBODY = {Attempt(position, labels) for position in range(3) for labels in (1, "all")}


def test_whoever_its_control_drops_makes_room_for_the_next_which_is_controlled_too():
    cheat = {"shuffled": 0.9}
    b, schedule = scheduled([{"attack": 0.95, **cheat}, {"attack": 0.9, **cheat}, {"attack": 0.7}, {"attack": 0.6}])
    run(b, schedule)
    assert chosen(b, b.results.attempts("all")) == Attempt(2, "all")
    assert ran(b, "shuffled") == {Attempt(position, "all") for position in (0, 1, 2)}
    controls = [trials for stage, trials in schedule.runner.stages if stage == "attacks, controls"]
    assert [{trial.attempt.candidate for trial in trials} for trials in controls] == [{0}, {1}, {2}]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("smoke", set()),
        ("standard", {Attempt(0, 1), Attempt(0, "all")}),
        ("full", {Attempt(position, labels) for position in (0, 1) for labels in (1, "all")}),
    ],
)
def test_training_is_doubled_for_the_chosen_at_standard_and_for_all_who_train_at_full(budget, expected):
    shares = [{"attack": 0.8}, {"attack": 0.7}, {"attack": 0.6}]
    b, schedule = scheduled(shares, budget=budget, trains=(0, 1))
    run(b, schedule)
    assert ran(b, "attack", doubled=True) == expected
    assert ran(b, "attack") == EVERYBODY


def test_nothing_is_doubled_where_the_chosen_does_not_train():
    b, schedule = scheduled([{"attack": 0.8}, {"attack": 0.7}], budget="standard", trains=(1,))
    run(b, schedule)
    assert ran(b, "attack", doubled=True) == set()


@pytest.mark.parametrize(
    ("budget", "ceilings", "controls"), [("smoke", "all", 1), ("standard", "all", 3), ("full", "each", 3)]
)
def test_ceilings_and_controls_are_of_the_largest_budget_or_of_everybody(budget, ceilings, controls):
    shares = [{"attack": 0.8}, {"attack": 0.7}, {"attack": 0.6}]
    b, schedule = scheduled(shares, budget=budget)
    run(b, schedule)
    largest = {attempt for attempt in EVERYBODY if attempt.budget == "all"}
    assert ran(b, "ceiling") == (EVERYBODY if ceilings == "each" else largest)
    assert ran(b, "shuffled") == {attempt for attempt in largest if attempt.candidate < controls}


def test_the_strongest_on_the_images_is_controlled_where_a_choice_asks_for_it():
    for ceiling in (False, True):
        b, schedule = scheduled([{"attack": 0.8}, {"attack": 0.6, "ceiling": 0.99}])
        run(b, schedule, ceiling=ceiling)
        assert (Attempt(1, "all") in ran(b, "shuffled")) is ceiling


@pytest.mark.parametrize(("double_all", "expected"), [(True, {0, 1}), (False, {0})])
def test_a_choice_may_ask_for_the_doubling_check_of_all_that_it_controls(double_all, expected):
    shares = [{"attack": 0.8}, {"attack": 0.6, "ceiling": 0.99}]
    b, schedule = scheduled(shares, budget="standard", trains=(0, 1))
    run(b, schedule, ceiling=True, double_all=double_all)
    assert {attempt.candidate for attempt in ran(b, "attack", doubled=True)} == expected


def test_further_arms_are_run_for_the_chosen_alone():
    b, schedule = scheduled([{"attack": 0.8, "planted": 0.9}, {"attack": 0.6}])
    run(b, schedule, extra=lambda attempt: ["planted"] if attempt.budget == "all" else [])
    assert ran(b, "planted") == {Attempt(0, "all")}
    assert flags_of(b, Attempt(0, "all")) == ()


def test_the_blind_have_neither_ceiling_nor_control_and_nothing_runs_twice():
    b, schedule = scheduled([{"attack": 0.8}, {"attack": 0.9}])
    change(b, 1, grows=False, shuffles=False, blind=True)
    run(b, schedule)
    assert chosen(b, b.results.attempts("all")) == Attempt(1, None)
    assert Attempt(1, None) not in ran(b, "ceiling") | ran(b, "shuffled")
    # The strongest of those who look at releases is controlled, although the floor's guesser won.
    assert ran(b, "shuffled") == {Attempt(0, "all")}
    trials = [trial for _, stage in schedule.runner.stages for trial in stage]
    assert len(trials) == len(set(trials)) == len(b.results.outcomes)
    run(b, schedule)
    assert len(b.results.outcomes) == len(trials) == len([t for _, s in schedule.runner.stages for t in s])


def test_slow_trials_go_first():
    _, schedule = scheduled([{"attack": 0.8}, {"attack": 0.7}], trains=(1,))
    schedule.attack()
    ((_, trials),) = schedule.runner.stages
    assert trials[0] == Trial(Attempt(1, "all"), "attack", 0)
    assert trials[-1].attempt.candidate == 0
