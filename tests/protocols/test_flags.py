"""Every doubt is raised where it must be, survives the way to the number, and is raised nowhere else."""

from types import SimpleNamespace

import pytest
import torch

from adversaries import health
from adversaries.adversary import Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.assess import assess
from adversaries.goals.label import TaskLabel
from adversaries.statistics import estimates
from adversaries.threat import ThreatModel
from protocols.engine.prepared import overlap_of
from protocols.engine.settings import Settings
from protocols.evaluation.context import FEW, Context
from protocols.evaluation.label_task import LabelTask
from protocols.evaluation.leaderboard import Contestant
from protocols.evaluation.results import Attempt
from tests.protocols.builders import (
    N,
    board,
    change,
    chosen,
    enter,
    evaluation,
    fill,
    flags_of,
    missed,
    numbers,
    outcome,
)


def number(b, attempts):
    return numbers(b).accuracy(attempts)


# --- of the run ---


def study(targets=FEW, overlap=0, call_dependent=None):
    prepared = SimpleNamespace(
        overlap=overlap,
        told=False,
        world=SimpleNamespace(targets=range(targets)),
        observed=SimpleNamespace(call_dependent=call_dependent),
    )
    unused = dict.fromkeys(("budget", "runner", "trainer", "cells", "shared", "scratch"))
    return Context(settings=Settings(), prepared=prepared, threat="L2", rows={}, **unused)


@pytest.mark.parametrize(
    ("facts", "raised"),
    [
        ({}, set()),
        ({"overlap": 1}, {"SPLIT_OVERLAP"}),
        ({"targets": FEW - 1}, {"TOO_FEW_TARGETS"}),
        ({"targets": 5, "overlap": 9}, {"SPLIT_OVERLAP", "TOO_FEW_TARGETS"}),
        ({"call_dependent": False}, set()),
        ({"call_dependent": True}, {"CALL_DEPENDENT"}),
    ],
)
def test_overlapping_parts_few_targets_and_releases_that_depend_on_the_call_are_flags_of_every_adversary(facts, raised):
    assert set(study(**facts).common) == {"UNCALIBRATED", *raised}


@pytest.mark.parametrize("part", ["pool_train", "pool_validation"])
def test_an_image_of_either_part_of_the_pool_among_the_targets_is_counted(part):
    named = {"pool_train": (b"a", b"b"), "pool_validation": (b"c",), "targets": (b"d", b"e")}
    parts = {name: SimpleNamespace(row_hashes=hashes) for name, hashes in named.items()}
    assert overlap_of(SimpleNamespace(**parts)) == 0
    parts["targets"] = SimpleNamespace(row_hashes=(b"e", named[part][0]))
    assert overlap_of(SimpleNamespace(**parts)) == 1


@pytest.mark.parametrize("flag", sorted(health.POWER))
def test_a_power_flag_of_the_run_stays_on_every_number(flag):
    b = board("a", common=(flag,))
    attempt = fill(b, 0, attack=0.8, shuffled=0.5)
    assert flag in flags_of(b, attempt)
    value = number(b, [attempt])
    assert value.value == pytest.approx(0.8)
    assert flag in health.forbids_holding(value.flags)


@pytest.mark.parametrize("flag", sorted(health.HONESTY))
def test_an_honesty_flag_of_the_run_drops_everybody(flag):
    b = board("a", "b", common=(flag,))
    attempts = [fill(b, position, attack=0.8, shuffled=0.5) for position in (0, 1)]
    assert all(flag in b.dishonest(attempt) and flag in flags_of(b, attempt) for attempt in attempts)
    assert b.choose(attempts) is None
    assert number(b, attempts).value is None
    assert flag in number(b, attempts).flags


# --- of a fit ---


class Says(Attack):
    """Guesses the first class; some scores are not numbers."""

    def __init__(self, flags=(), bad=()):
        self.flags, self.bad = frozenset(flags), bad

    def guess(self, release):
        scores = torch.tensor([1.0, 0.0]).repeat(len(release), 1)
        if len(release) in self.bad:
            scores[-1, 1] = float("nan") if len(release) % 2 else float("inf")
        return scores


class Doubtful(Adversary):
    """An adversary whose attack is given."""

    level = "L2"
    attack = Says()

    def fit(self, view, generator):
        return self.attack


def tiny():
    sizes = (12, 7, 10)
    parts = [Part(images=None, release=torch.rand(n, 2), labels={"y": torch.arange(n) % 2}) for n in sizes]
    return EvaluationData(train=parts[0], validation=parts[1], targets=parts[2], classes={"y": 2})


@pytest.fixture
def measure(monkeypatch):
    """The outcome of a cell whose adversary makes a given attack."""

    def cell(attack):
        monkeypatch.setattr(Doubtful, "attack", attack)
        monkeypatch.setattr(LabelTask, "make_adversary", lambda _self: Doubtful())
        made = LabelTask(
            adversary="doubtful", settings={}, level="L2", labels_per_class="all", goal="task:y", arm="attack", seed=0,
            doubled=False, world="w",
        )  # fmt: skip
        return made.measure(SimpleNamespace(world=tiny))

    return cell


@pytest.mark.parametrize("bad", [(7,), (10,), (7, 10)])
def test_guesses_that_are_not_numbers_are_flagged_in_either_part(bad, monkeypatch):
    monkeypatch.setattr(Doubtful, "attack", Says(bad=bad))
    threat = ThreatModel(level="L2", labels_per_class="all")
    graded = assess(Doubtful(), tiny(), TaskLabel(label="y"), threat, arm="attack", seed=0, fit_seed=0)
    assert graded.flags == ("NONFINITE_GUESS",)


def test_what_an_attack_doubts_about_itself_reaches_number_and_evidence(measure):
    assert measure(Says()).flags == ()
    found = measure(Says(flags=("ZERO_GRADIENT",), bad=(10,)))
    assert found.flags == ("NONFINITE_GUESS", "ZERO_GRADIENT")
    b = board("a")
    attempt = fill(b, 0, attack=0.8, shuffled=0.5, flags=measure(Says(flags=("ZERO_GRADIENT",))).flags)
    assert flags_of(b, attempt) == ("ZERO_GRADIENT",)
    assert number(b, [attempt]).flags == ("ZERO_GRADIENT",)
    (row,) = evaluation(b, SimpleNamespace(rows={})).evidence("p", [Contestant(attempt)])
    assert row.health == ("ZERO_GRADIENT",)


def test_a_doubt_of_any_seed_is_a_doubt():
    b = board("a", seeds=(0, 1))
    attempt = fill(b, 0, attack=0.8, shuffled=0.5)
    for arm, flags in (("attack", ("ZERO_GRADIENT",)), ("ceiling", ()), ("shuffled", ())):
        enter(b, attempt, arm, outcome(0.5 if arm == "shuffled" else 0.8, flags=flags), seed=1)
    assert flags_of(b, attempt) == ("ZERO_GRADIENT",)


@pytest.mark.parametrize(
    ("unchecked", "trained", "flagged"), [(True, {0}, True), (True, {1}, False), (False, {0}, False)]
)
def test_an_unchecked_convergence_is_said_of_whoever_trains(unchecked, trained, flagged):
    b = board("a", "b", unchecked=unchecked)
    for position in (0, 1):
        change(b, position, trains=position in trained)
    few, every = fill(b, 0, 1, attack=0.7, shuffled=0.5), fill(b, 0, attack=0.8, shuffled=0.5)
    for attempt in (few, every):
        assert ("CONVERGENCE_UNCHECKED" in number(b, [attempt]).flags) is flagged


# --- controls are judged at the largest number of labels ---


def test_a_cheat_is_dropped_at_every_number_of_labels_by_its_control_at_the_largest():
    b = board("cheat", "honest", grid=(1, 5, "all"))
    for labels in b.results.grid:
        fill(b, 0, labels, attack=0.95, shuffled=0.9 if labels == "all" else None)
        fill(b, 1, labels, attack=0.7, shuffled=0.5 if labels == "all" else None)
    for labels in b.results.grid:
        both = [Attempt(0, labels), Attempt(1, labels)]
        assert b.dishonest(both[0]) == ("SHUFFLED_ABOVE_CHANCE",)
        assert chosen(b, both) == both[1]
        assert missed(b, both[1], both) == []


def test_the_ceiling_is_judged_at_the_largest_number_of_labels():
    b = board("able", "blind")
    for position, (few, every) in enumerate([(0.5, 0.9), (0.9, 0.5)]):
        fill(b, position, 1, attack=0.6, ceiling=few, shuffled=0.5)
        fill(b, position, "all", attack=0.6, ceiling=every, shuffled=0.5)
    assert "CEILING_MISSED" not in flags_of(b, Attempt(0, 1))
    assert "CEILING_MISSED" in flags_of(b, Attempt(1, 1))


@pytest.mark.parametrize(("hit", "missed"), [(204, True), (220, True), (232, True), (234, False), (300, False)])
def test_the_ceilings_lower_bound_must_exceed_the_floors_upper_bound(hit, missed):
    """The floor of 200 in 400 reaches up to .5423; that of 232 hits is .5378 (Clopper-Pearson), of 234 .5429."""
    b = board("a", floor=0.5)
    attempt = fill(b, 0, attack=0.8, ceiling=hit / N, shuffled=0.5)
    assert ("CEILING_MISSED" in flags_of(b, attempt)) is missed


def test_the_shuffled_flag_is_corrected_for_the_number_of_cells():
    hit = next(k for k in range(N) if estimates.binomial_upper_tail(k, N, 0.5) < health.LEVEL / 2)
    b = board(*"abcdefghij")
    attempt = fill(b, 0, attack=0.8, shuffled=hit / N)
    assert b.dishonest(attempt) == ("SHUFFLED_ABOVE_CHANCE",)
    for position in range(1, 10):
        fill(b, position, attack=0.8, shuffled=0.5)
    assert b.dishonest(attempt) == ()
    enter(b, attempt, "shuffled", outcome((hit + 20) / N))
    assert b.dishonest(attempt) == ("SHUFFLED_ABOVE_CHANCE",)


def test_the_shuffled_rate_is_compared_with_the_best_constant_guess_on_shuffled_labels():
    b = board("a")
    attempt = fill(b, 0, attack=0.9)
    for chance, flagged in ((0.9, False), (0.5, True)):
        enter(b, attempt, "shuffled", outcome(0.9, chance=chance))
        assert ("SHUFFLED_ABOVE_CHANCE" in flags_of(b, attempt)) is flagged
