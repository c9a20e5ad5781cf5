"""From L3 on everybody who attacked the task label competes for the strongest, under the same rules as the ladder."""

from dataclasses import replace

import numpy as np
import pytest

from adversaries.statistics import levels
from protocols.engine.prepared import TargetRows
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.cross_protocol import graded_on_some, rivals_from_labels, rivals_from_readers
from protocols.evaluation.leaderboard import Leaderboard
from protocols.evaluation.metrics import LabelMetrics
from protocols.evaluation.pairs import pairs_statistic
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.run import against_everybody
from tests.protocols.builders import COST, N, board, enter, measured


def rows(share, n=N):
    return (np.arange(n) < round(share * n)).astype(np.uint8)


def one(name, level, validation, targets, *, shuffled=0.5, **facts):
    """A leaderboard of one adversary with labels, its ceiling and its control."""
    b = board(name, levels=(level,), floor=rows(0.5), shuffles=True, **facts)
    attempt = Attempt(0, "all")
    enter(b, attempt, "attack", measured(rows(validation, N // 4), rows(targets)))
    enter(b, attempt, "ceiling", measured(rows(1.0, N // 4), rows(1.0)))
    enter(b, attempt, "shuffled", measured(rows(shuffled, N // 4), rows(shuffled)))
    return b


def images_of(read, *, targets=N, shuffled=0.5, flags=(), control=True):
    """A decoder whose reconstructions two models read; `read` has shares on validation and targets by model."""
    decoder = Competitor(candidate=Candidate(adversary="decoder"), level="L3")
    guesser = Competitor(
        candidate=Candidate(adversary="mean-image"), level="L3", grows=False, shuffles=False, blind=True
    )
    results = Results(competitors=[decoder, guesser], seeds=(0,), grid=(100, "all"))

    def outcome(share, flags=()):
        arrays = {"targets.majority": np.array([0.5])}
        for model, (validation, graded) in share.items():
            arrays[f"validation.read.{model}"] = rows(validation, N // 4)
            arrays[f"targets.read.{model}"] = rows(graded, targets)
        return Outcome(status="measured", arrays=arrays, cost=COST, flags=flags)

    attempt, able = Attempt(0, "all"), dict.fromkeys(read, (1.0, 1.0))
    results.outcomes[Trial(attempt, "attack", 0)] = outcome(read, flags)
    results.outcomes[Trial(Attempt(0, 100), "attack", 0)] = outcome(able)
    results.outcomes[Trial(attempt, "ceiling", 0)] = outcome(able)
    if control:
        results.outcomes[Trial(attempt, "shuffled", 0)] = outcome(dict.fromkeys(read, (shuffled, shuffled)))
    results.outcomes[Trial(Attempt(1, None), "attack", 0)] = outcome(able)
    return results


def readings(results, models=("mlp",)):
    statistic = pairs_statistic("inversion.reader_accuracy", "task:y", "read", variants=models)
    return rivals_from_readers(Leaderboard(results=results, statistic=statistic))


def numbers_of(b):
    return LabelMetrics(board=b, target=TargetRows(release=rows(0.9)), per_class=50.0, rows={})


def strongest(ladder, rivals, threat="L4"):
    return against_everybody([Findings(ladder=numbers_of(ladder)), Findings(rivals=rivals)], threat)


@pytest.mark.parametrize(("theirs", "expected"), [((0.9, 0.8), 0.8), ((0.6, 0.95), 0.7)])
def test_the_best_on_validation_is_chosen_whatever_its_protocol(theirs, expected):
    ladder = one("linear", "L2", 0.7, 0.7)
    found = strongest(ladder, rivals_from_labels(one("mask-replay", "L4", *theirs).results))
    assert found["adaptive.accuracy"].value == pytest.approx(expected)
    # Whoever is clearly stronger on the targets and was not chosen is told.
    assert ("SELECTION_MISSED" in found["adaptive.accuracy"].flags) == (expected == 0.7)


def test_who_is_above_the_threat_level_does_not_count():
    rivals = rivals_from_labels(one("mask-replay", "L4", 0.9, 0.9).results)
    found = strongest(one("linear", "L2", 0.7, 0.7), rivals, "L3")
    assert found["adaptive.accuracy"].value == pytest.approx(0.7)


def test_a_model_that_reads_reconstructions_competes_with_the_most_pairs():
    rivals = readings(images_of({"mlp": (0.6, 0.6), "vgg11": (0.8, 0.82)}), ("mlp", "vgg11"))
    assert [(r.competitor.candidate.name, r.competitor.level) for r in rivals] == [
        ("decoder mlp", "L3"),
        ("decoder vgg11", "L3"),
    ]
    found = strongest(one("linear", "L2", 0.7, 0.7), rivals)
    assert found["adaptive.accuracy"].value == pytest.approx(0.82)
    assert found["adaptive.suppression_ratio"].value == pytest.approx(0.9 / 0.82)
    assert found["adaptive.leakage"].value == pytest.approx((0.82 - 0.5) / 0.5)
    assert "CRASHED" not in found["adaptive.accuracy"].flags


def test_who_was_graded_on_some_targets_only_is_held_against_the_chosen_on_the_same_ones():
    ladder = one("linear", "L2", 0.7, 0.7)
    # The chosen one is right about the first .7 of all targets, so about all of these.
    found = strongest(ladder, readings(images_of({"mlp": (0.9, 1.0)}, targets=100)))
    assert found["adaptive.accuracy"].flags == ()
    ladder = one("linear", "L2", 0.7, 0.7)
    enter(ladder, Attempt(0, "all"), "attack", measured(rows(0.7, N // 4), np.flip(rows(0.7)).copy()))
    found = strongest(ladder, readings(images_of({"mlp": (0.9, 0.9)}, targets=100)))
    accuracy = found["adaptive.accuracy"]
    assert accuracy.value == pytest.approx(0.7)
    assert accuracy.flags == ("SELECTION_MISSED",)
    assert [(also.value, also.n) for also in accuracy.also] == [(0.9, 100)]
    # The floor is right about all of these, which caps the ratio.
    assert found["adaptive.suppression_ratio"].also[0].value == pytest.approx(1.0)
    assert found["adaptive.leakage"].flags == ("SELECTION_MISSED",)


def backwards(share):
    """The ladder's only adversary is right about the last targets."""
    ladder = one("linear", "L2", 0.7, 0.7)
    enter(ladder, Attempt(0, "all"), "attack", measured(rows(0.7, N // 4), np.flip(rows(share)).copy()))
    return LabelMetrics(board=replace_floor(ladder), target=TargetRows(release=rows(0.9)), per_class=50.0, rows={})


def replace_floor(b):
    """The same with a floor that is right about every other target."""
    return replace(b, statistic=replace(b.statistic, floor=(np.arange(N) % 2).astype(np.uint8)))


def test_every_honest_one_that_was_graded_on_some_targets_is_judged_with_its_name_and_its_control():
    for control in (True, False):
        found = images_of({"mlp": (0.9, 0.75), "vgg11": (0.6, 0.6)}, targets=100, control=control)
        numbers = backwards(0.9)
        metrics = against_everybody(
            [Findings(ladder=numbers), Findings(rivals=readings(found, ("mlp", "vgg11")))], "L4"
        )
        for name, expected in (
            ("adaptive.accuracy", (0.75, 0.6)),
            ("adaptive.suppression_ratio", (1 / 0.75, 1 / 0.6)),
            ("adaptive.leakage", (0.5, 0.2)),
        ):
            others = metrics[name].others
            assert [each.candidate for each in others] == ["decoder mlp @all", "decoder vgg11 @all"]
            assert [each.value for each in others] == [pytest.approx(value) for value in expected]
            assert {each.n for each in others} == {100}
            assert {each.controlled for each in others} == {control}
            again = levels.recompute(others[0], 0.01, numbers.rows)
            assert again.low < others[0].low


def test_controls_of_those_graded_on_some_targets_are_corrected_for_everybodys():
    ladder = one("linear", "L2", 0.8, 0.7)
    rivals = readings(images_of({"mlp": (0.9, 0.75), "vgg11": (0.6, 0.6)}, targets=100), ("mlp", "vgg11"))
    assert graded_on_some(ladder, rivals).results.comparisons == 1 + 2


def test_a_dishonest_one_that_was_graded_on_some_targets_is_dropped_and_told():
    for facts in ({"shuffled": 0.9}, {"flags": ("NONFINITE_GUESS",)}):
        found = readings(images_of({"mlp": (0.9, 0.75)}, targets=100, **facts))
        accuracy = against_everybody([Findings(ladder=backwards(0.9)), Findings(rivals=found)], "L4")[
            "adaptive.accuracy"
        ]
        assert accuracy.others == ()
        assert {"SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS"} & set(accuracy.flags)


def test_nothing_changes_up_to_l2_or_without_the_ladder():
    rivals = rivals_from_labels(one("mask-replay", "L4", 0.9, 0.9).results)
    assert strongest(one("linear", "L2", 0.7, 0.7), rivals, "L2") == {}
    assert against_everybody([Findings(rivals=rivals)], "L4") == {}
    assert strongest(one("linear", "L2", 0.7, 0.7), []) == {}


def test_what_is_known_of_a_rival_comes_along():
    theirs = one("mask-replay", "L4", 0.9, 0.8, trains=True, calibrated=True)
    ladder = one("linear", "L2", 0.7, 0.7, unchecked=True, common=("UNCALIBRATED",))
    found = strongest(ladder, rivals_from_labels(theirs.results))
    assert found["adaptive.accuracy"].flags == ("CONVERGENCE_UNCHECKED",)


def test_a_dishonest_rival_is_dropped_and_told():
    for images in (
        images_of({"mlp": (0.9, 0.9)}, shuffled=0.8),
        images_of({"mlp": (0.9, 0.9)}, flags=("NONFINITE_GUESS",)),
    ):
        found = strongest(one("linear", "L2", 0.7, 0.7), readings(images))
        assert found["adaptive.accuracy"].value == pytest.approx(0.7)
        assert {"SHUFFLED_ABOVE_CHANCE", "NONFINITE_GUESS"} & set(found["adaptive.accuracy"].flags)


def test_a_choice_without_its_control_and_a_crash_are_doubts():
    uncontrolled = readings(images_of({"mlp": (0.9, 0.9)}, control=False))
    assert "CRASHED" in strongest(one("linear", "L2", 0.7, 0.7), uncontrolled)["adaptive.accuracy"].flags
    crashed = images_of({"mlp": (0.9, 0.9)})
    crashed.outcomes[Trial(Attempt(0, "all"), "attack", 0)] = Outcome.empty("failed", "boom")
    found = strongest(one("linear", "L2", 0.7, 0.7), readings(crashed))
    assert found["adaptive.accuracy"].value == pytest.approx(0.7)
    assert "CRASHED" in found["adaptive.accuracy"].flags
