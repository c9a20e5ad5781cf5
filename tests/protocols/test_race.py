"""The race: who goes on, what it costs, and what is said of those who do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adversaries.adversary import ADVERSARIES
from adversaries.entries import Entry, Length, length_of
from adversaries.knowledge import Knowledge
from adversaries.statistics.race import Runner, going_on
from adversaries.threat import ThreatModel
from protocols.engine.budget import BUDGETS, get_budget
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.evidence import EvidenceMaker
from protocols.evaluation.label_evaluation import _family
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.results import Attempt, Trial
from protocols.evaluation.schedule import Choice, Schedule
from protocols.task_label.study import exposed_choices
from reports.model.attempt_index import Attempt as Shown
from reports.text.phrases import granted
from tests.adversaries.attacks.conftest import make_world
from tests.protocols.builders import board, change, chosen, fill, hits, numbers, outcome

# --- the rule ---


def runners(*shares, chance=0.1, n=150):
    """Members of a family; whoever is right on fewer rows is right on some of the same."""
    return [Runner(rows=(np.arange(n) < round(share * n)).astype(np.uint8), chance=chance) for share in shares]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.9,), [0]),
        ((0.2, 0.9), [1]),
        ((0.3, 0.9, 0.5), [1]),
        ((0.3, 0.9, 0.5, 0.8), [1, 3]),
        ((0.9, 0.2, 0.3, 0.8, 0.7), [0, 3]),
    ],
)
def test_the_better_half_goes_on_and_at_least_the_best(shares, expected):
    assert going_on(runners(*shares)) == expected


def test_whoever_is_within_a_standard_error_of_the_last_place_goes_on():
    def apart(gained, lost, n=150):
        """Two who differ on some rows; both are right on all others but ten."""
        first, second = np.ones(n, np.uint8), np.ones(n, np.uint8)
        first[:10] = second[:10] = 0
        second[10 : 10 + gained], first[n - lost :] = 0, 0
        return [Runner(rows=rows, chance=0.1) for rows in (first, second)]

    # The mean difference on 150 rows is 2/150 = .013, its standard error sqrt(14/150 - .013^2) / sqrt(150) = .025.
    assert going_on(apart(8, 6)) == [0, 1]
    # Now .040, and sqrt(14/150 - .04^2) / sqrt(150) = .025.
    assert going_on(apart(10, 4)) == [0]


def test_so_many_may_be_close_and_no_more():
    assert going_on(runners(0.8, 0.8, 0.8)) == [0, 1]
    assert going_on(runners(0.8, 0.8, 0.8, 0.8, 0.8)) == [0, 1, 2, 3]


def test_nobody_stops_while_nobody_has_learned():
    # 20 of 150 at chance .1: P[X >= 20] = .11; 25 of 150: .009.
    assert going_on(runners(0.05, 20 / 150, 0.0)) == [0, 1, 2]
    assert going_on(runners(0.05, 25 / 150, 0.0)) == [1]
    # Numbers that are not right or wrong know no chance.
    assert going_on(runners(0.05, 20 / 150, 0.0, chance=None)) == [1]


# --- the schedule ---

ROUNDS = {"standard": (0.125, 0.25, 1.0), "smoke": (0.125, 1.0), "full": (1.0,)}


def test_what_budgets_let_race():
    assert {name: budget.rounds for name, budget in BUDGETS.items()} == ROUNDS


class Answers:
    """Answers trials by a function of position, arm and share; keeps what it was asked, and what it has answered."""

    def __init__(self, says, kept=None):
        self.says, self.asked, self.kept, self.computed = says, [], {} if kept is None else kept, 0

    def run(self, _stage, trials):
        self.asked += trials
        for trial in trials:
            if trial not in self.kept:
                self.kept[trial] = self.answer(trial)
                self.computed += 1
        return [self.kept[trial] for trial in trials]

    def answer(self, trial):
        return outcome(self.says(trial.attempt.candidate, trial.arm, trial.share))


class AnswersOfTrials(Answers):
    """Answers by a function of the whole trial, which gives an outcome."""

    def answer(self, trial):
        return self.says(trial)


def raced(
    says, *, families=("f", "f", "f"), budget="standard", kept=None, grid=("all",), seeds=(0,), floor=0.1,
    answers=Answers, further=tuple,
):  # fmt: skip
    """A finished race; `further` makes more choices from the board."""
    names = [f"a{i}" for i in range(len(families))]
    b = board(*names, grid=grid, floor=floor, seeds=seeds, shuffles=True, trains=True)
    for position, family in enumerate(families):
        change(b, position, family=family)
    runner = answers(says, kept)
    spent = replace(get_budget(budget), doubling="none")
    schedule = Schedule(
        results=b.results, budget=spent, runner=runner, task=lambda t: t, name="attacks", board=b, chance=0.1
    )
    schedule.attack()
    usual = [Choice(board=b, attempts=b.results.attempts(k), ceiling=True) for k in b.results.grid]
    schedule.control(lambda: [*usual, *(further(b) if further is not tuple else ())])
    return b, runner


def steady(attack, ceiling=0.95, shuffled=0.1):
    """The same share of right guesses however long the training; `attack` by position."""
    return lambda position, arm, _share: {"attack": attack[position], "ceiling": ceiling, "shuffled": shuffled}[arm]


def shares_of(runner, position, arm="attack"):
    return [t.share for t in runner.asked if t.attempt.candidate == position and t.arm == arm]


def test_the_weaker_stop_and_the_strongest_is_trained_to_the_end():
    b, runner = raced(steady([0.5, 0.8, 0.3]))
    assert [shares_of(runner, position) for position in range(3)] == [[0.125], [0.125, 1.0], [0.125]]
    assert chosen(b, b.results.attempts("all")) == Attempt(1, "all")


def test_two_who_are_close_meet_in_a_further_round_at_standard_and_both_end_at_smoke():
    def says(position, arm, share):
        later = {0: 0.8, 1: 0.8 if share < 0.2 else 0.6, 2: 0.3}
        return later[position] if arm == "attack" else {"ceiling": 0.95, "shuffled": 0.1}[arm]

    _, runner = raced(says)
    assert [shares_of(runner, position) for position in range(3)] == [[0.125, 0.25, 1.0], [0.125, 0.25], [0.125]]
    _, runner = raced(says, budget="smoke")
    assert [shares_of(runner, position) for position in range(3)] == [[0.125, 1.0], [0.125, 1.0], [0.125]]


def test_at_full_everybody_is_trained_to_the_end():
    _, runner = raced(steady([0.5, 0.8, 0.3]), budget="full")
    assert {trial.share for trial in runner.asked} == {1.0}


def test_whoever_has_no_siblings_never_stops_however_slowly_it_learns():
    def says(position, arm, share):
        slow = 0.1 if share < 1 else 0.9
        return {"attack": {0: slow, 1: 0.6, 2: 0.5}[position], "ceiling": 0.95, "shuffled": 0.1}[arm]

    b, runner = raced(says, families=("", "f", "f"))
    assert shares_of(runner, 0) == [1.0]
    assert chosen(b, b.results.attempts("all")) == Attempt(0, "all")


def test_a_family_that_learns_only_at_the_end_loses_nobody_before():
    """An interaction: no member is above chance until the last round, and then a single one is."""

    def says(position, arm, share):
        found = 0.9 if position == 2 and share == 1 else 0.1
        return {"attack": found, "ceiling": 0.95, "shuffled": 0.1}[arm]

    b, runner = raced(says)
    assert [shares_of(runner, position) for position in range(3)] == [[0.125, 0.25, 1.0]] * 3
    assert chosen(b, b.results.attempts("all")) == Attempt(2, "all")


def test_a_ceiling_is_trained_as_long_as_its_attack_and_the_best_of_the_images_to_the_end():
    def says(position, arm, _share):
        return {"attack": (0.5, 0.8, 0.3), "ceiling": (0.7, 0.75, 0.99), "shuffled": (0.1, 0.1, 0.1)}[arm][position]

    b, runner = raced(says)
    assert shares_of(runner, 1, "ceiling") == [0.125, 1.0]
    assert shares_of(runner, 2, "ceiling") == [0.125, 1.0]
    assert shares_of(runner, 0, "ceiling") == [0.125]
    assert b.results.share(Attempt(2, "all"), "ceiling") == 1.0
    assert b.results.share(Attempt(2, "all")) == 0.125


def test_the_shuffled_control_is_trained_as_long_as_what_it_controls():
    _, runner = raced(steady([0.5, 0.8, 0.3]))
    assert [shares_of(runner, position, "shuffled") for position in range(3)] == [[0.125], [1.0], [0.125]]


def test_whoever_stopped_and_is_chosen_after_all_is_trained_to_the_end():
    """The best of the first round overfits; the numbers are never those of a training that was cut short."""

    def says(position, arm, share):
        found = {0: 0.8 if share < 1 else 0.2, 1: 0.5 if share < 1 else 0.7}
        return {"attack": found.get(position, 0.3), "ceiling": 0.95, "shuffled": 0.1}[arm]

    b, runner = raced(says)
    assert shares_of(runner, 1) == [0.125, 1.0]
    assert shares_of(runner, 1, "ceiling")[-1] == 1.0
    assert shares_of(runner, 1, "shuffled")[-1] == 1.0
    assert chosen(b, b.results.attempts("all")) == Attempt(1, "all")
    assert b.results.measured(Attempt(1, "all"), "attack")[0].targets.mean() == pytest.approx(0.7)


def fit_shares(runner, position, arm, budget):
    """The shares with which a candidate was fitted in an arm, at one number of labels."""
    return [t.share for t in runner.asked if t.attempt == Attempt(position, budget) and t.arm == arm]


@pytest.mark.parametrize("budget", ["smoke", "standard"])
def test_whoever_wins_with_few_labels_has_controls_as_long_as_its_attack(budget):
    """The first wins with one label and stops early with all; its controls are those with all labels."""

    def says(trial):
        usual = {"ceiling": 0.95, "shuffled": 0.1}
        first = {1: (0.9, 0.4, 0.3), "all": (0.3, 0.9, 0.4)}[trial.attempt.budget]
        return outcome({"attack": first[trial.attempt.candidate], **usual}[trial.arm])

    b, runner = raced(says, grid=(1, "all"), budget=budget, answers=AnswersOfTrials)
    assert chosen(b, b.results.attempts(1)) == Attempt(0, 1)
    assert fit_shares(runner, 0, "attack", 1)[-1] == 1.0
    assert fit_shares(runner, 0, "attack", "all") == [0.125]
    assert fit_shares(runner, 0, "shuffled", "all")[-1] == 1.0
    assert fit_shares(runner, 0, "ceiling", "all")[-1] == 1.0
    # Its attack with all labels is still known to have stopped.
    assert b.results.share(Attempt(0, "all")) == 0.125
    (row,) = [
        row
        for row in EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
        if (row.adversary, row.threat.budget.labels_per_class) == ("a0", "all")
    ]
    assert row.settings["dropped"] == 1
    # Whoever was cut short everywhere has short controls, and nobody is controlled by less than its own training.
    assert set(fit_shares(runner, 2, "ceiling", "all")) == {0.125}
    assert not any(b.results.uncontrolled(Attempt(0, labels)) for labels in (1, "all"))


def test_a_cheat_that_shows_only_when_it_is_trained_whole_is_found_out():
    def says(trial):
        cheats = trial.attempt.candidate == 0 and trial.share == 1.0
        first = {1: (0.9, 0.4, 0.3), "all": (0.3, 0.9, 0.4)}[trial.attempt.budget]
        usual = {"ceiling": 0.95, "shuffled": 0.9 if cheats else 0.1}
        return outcome({"attack": first[trial.attempt.candidate], **usual}[trial.arm])

    b, _ = raced(says, grid=(1, "all"), answers=AnswersOfTrials)
    assert b.dishonest(Attempt(0, 1)) == ("SHUFFLED_ABOVE_CHANCE",)
    assert chosen(b, b.results.attempts(1)) == Attempt(1, 1)


def test_a_control_that_trained_less_than_its_attack_controls_nothing():
    b = board("a", grid=(1, "all"), shuffles=True)
    few, every = (fill(b, 0, labels, attack=0.8, shuffled=0.5) for labels in (1, "all"))
    assert not b.results.uncontrolled(few)
    b.results.reach(every, "attack", 0.125)
    assert b.results.uncontrolled(few)
    assert not b.results.uncontrolled(every)
    b.results.reach(every, "shuffled", 1.0)
    assert not b.results.uncontrolled(few)


def exposing(trial):
    """The second is right most often; the first, who stops early, picks out most."""
    share = {"attack": (0.5, 0.8, 0.3)[trial.attempt.candidate], "ceiling": 0.95, "shuffled": 0.1}[trial.arm]
    found = outcome(share)
    picks = (0.3, 0.1, 0.05)[trial.attempt.candidate]
    more = {"validation.exposed": hits(picks, n=100), "targets.exposed": hits(picks), "targets.picked": hits(picks)}
    return replace(found, arrays={**found.arrays, **more})


def test_who_exposes_most_is_trained_to_the_end_and_controlled():
    b, runner = raced(
        exposing, grid=(1, 10, "all"), budget="smoke", answers=AnswersOfTrials,
        further=lambda b: exposed_choices(numbers(b)),
    )  # fmt: skip
    for labels in (1, 10):
        value = numbers(b).exposed(b.results.attempts(labels))
        assert (value.candidate, value.value) == (f"a0 @{labels}", pytest.approx(0.3))
        assert fit_shares(runner, 0, "attack", labels) == [0.125, 1.0]
        assert not {"NOT_CONVERGED", "CRASHED"} & set(value.flags)
    assert fit_shares(runner, 0, "shuffled", "all")[-1] == 1.0
    assert fit_shares(runner, 0, "attack", "all") == [0.125]  # nothing is told of the exposed there


def test_a_number_of_somebody_who_was_left_out_says_so():
    b, _ = raced(exposing, grid=(1, "all"), answers=AnswersOfTrials)
    value = numbers(b).exposed(b.results.attempts(1))
    assert value.candidate == "a0 @1"
    assert "NOT_CONVERGED" in value.flags
    assert "NOT_CONVERGED" not in numbers(b).accuracy(b.results.attempts(1)).flags


@pytest.mark.parametrize("floor", [0.0, 0.9])
def test_the_truth_of_the_targets_moves_nobody_in_a_race(floor):
    _, runner = raced(steady([0.5, 0.8, 0.3]), floor=floor)
    assert [shares_of(runner, position) for position in range(3)] == [[0.125], [0.125, 1.0], [0.125]]


def test_more_seeds_are_not_more_rows():
    # 14 of 100 at chance .1: P[X >= 14] = .12; as if of 5 x 100 rows it would be .003.
    _, runner = raced(steady([0.05, 0.14, 0.0]), seeds=(0, 1, 2, 3, 4))
    assert [sorted({*shares_of(runner, position)}) for position in range(3)] == [[0.125, 0.25, 1.0]] * 3
    rows = [(np.arange(150) < 25).astype(np.uint8), (np.arange(150) < 26).astype(np.uint8)]
    assert Runner.of(rows).rows.sum() == pytest.approx(25.5)
    assert Runner.of(rows[:1] * 3).rows.tolist() == rows[0].tolist()


def test_families_race_at_every_number_of_labels_by_themselves():
    _, runner = raced(steady([0.5, 0.8, 0.3]), grid=(1, "all"))
    asked = [(t.attempt.budget, t.share) for t in runner.asked if t.attempt.candidate == 1 and t.arm == "attack"]
    assert sorted(asked, key=str) == [("all", 0.125), ("all", 1.0), (1, 0.125), (1, 1.0)]


def test_a_race_that_was_stopped_ends_as_if_it_had_not_been():
    says = steady([0.5, 0.8, 0.79])
    whole, once = raced(says)
    half = dict(list(once.kept.items())[: len(once.kept) // 2])
    resumed, again = raced(says, kept=half)
    assert again.computed == once.computed - len(once.kept) // 2
    assert resumed.results.shares == whole.results.shares
    assert list(resumed.results.outcomes) == list(whole.results.outcomes)


# --- what is said ---


def test_evidence_says_who_was_left_out_when_and_how_far_everybody_had_come():
    b, _ = raced(steady([0.5, 0.8, 0.3]))
    found = {row.adversary: row for row in EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})}
    assert {name: row.settings.get("dropped") for name, row in found.items()} == {"a0": 1, "a1": None, "a2": 1}
    assert [name for name in found["a1"].metrics if name.startswith("validation_after")] == [
        "validation_after_10_steps"
    ]
    assert "validation_after_10_steps" not in found["a0"].metrics
    assert all(row.status == "measured" and row.arms.attack.value is not None for row in found.values())


def test_calibration_speaks_of_nobody_who_was_left_out():
    b, _ = raced(steady([0.5, 0.8, 0.3]))
    b.results.common = ("UNCALIBRATED",)
    for position in range(3):
        change(b, position, calibrated=True)
    rows = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    assert ["UNCALIBRATED" in row.health for row in rows] == [True, False, True]


# --- the length of training ---


def test_lengths_count_rows_shares_and_what_the_user_asked_for():
    length = Length(least=200, epochs=8, when={"scope": "all"})
    assert [length.steps({}, rows, 1.0) for rows in (10, 1600, 1601)] == [200, 200, 201]
    assert length.steps({}, 10, 0.125) == 25
    assert length.steps({"steps": 9}, 10, 0.25) == 3
    assert (length.applies({"scope": "all"}), length.applies({"scope": "head"})) == (True, False)


def racing():
    cards = [Entry.of(card) for card in ADVERSARIES.cards.values()]
    return [(each.name, dict(each.length.when)) for each in cards if each.length is not None]


@pytest.fixture(scope="module")
def pool():
    return make_world(sizes=(90, 30, 30))


@pytest.mark.parametrize(("name", "settings"), [each for each in racing() if each[0] != "with-prediction"])
def test_what_is_registered_as_length_is_what_an_adversary_takes(name, settings, pool):
    if ADVERSARIES.get(name).per_model:
        settings = {**settings, "model": "tiny"}
    task = LabelTask(
        adversary=name, settings=settings, level="L2", labels_per_class=5, goal="task:y", arm="attack", seed=0,
        doubled=False, world="w", share=0.125,
    )  # fmt: skip

    def taken(adversary):
        view = Knowledge(pool, ThreatModel(level="L2", labels_per_class=5), "y")
        return adversary.fit(view, torch.Generator().manual_seed(0)).gradient_steps

    short = taken(task.shortened(task.make_adversary(), pool))
    assert short == 25
    assert taken(task.make_adversary()) == length_of(name, settings).steps(settings, 15, 1.0) == 8 * short


def test_only_the_same_adversary_on_other_models_races_and_the_near_twin_does_not():
    def family(adversary, *, headline=True, **settings):
        return _family(Candidate(adversary=adversary, settings=settings, headline=headline))

    assert family("fine-tune", model="m", scope="all") == family("fine-tune", model="n", scope="all") != ""
    assert family("fine-tune", model="m", scope="all") != family("adapter", model="m")
    assert family("fine-tune", model="m", scope="head") == ""
    assert family("fine-tune", model="m", scope="all", headline=False) == ""
    assert family("entropy", model="m") == family("mlp") == family("linear") == ""


def test_no_trial_is_known_by_the_share_it_was_run_with():
    b, _ = raced(steady([0.5, 0.8, 0.3]))
    assert {trial.share for trial in b.results.outcomes} == {1.0}
    assert b.results.rounds[Trial(Attempt(1, "all"), "attack", 0)].keys() == {0.125, 1.0}


def test_tables_say_after_which_round_somebody_was_left_out():
    b, _ = raced(steady([0.5, 0.8, 0.3]))
    rows = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    said = [
        granted(
            Shown(adversary=row.adversary, settings=row.settings, goal=row.goal, level="L2", labels="all", rows=(row,))
        )
        for row in rows
    ]
    assert ["left out after round 1" in text for text in said] == [True, False, True]
    assert all("10 steps" in text for text in said)
