"""The luck of which labelled releases an attacker was granted."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import t

from adversaries.evaluation_data import reordered
from adversaries.evidence import Value
from adversaries.statistics import estimates
from adversaries.statistics.levels import over_draws, recompute
from protocols.engine.budget import get_budget
from protocols.evaluation.evidence import EvidenceMaker
from protocols.evaluation.metrics import chosen_value
from protocols.evaluation.results import Attempt, Trial
from tests.protocols.builders import board, evaluation, fill, outcome
from tests.protocols.test_what_is_granted import world


def value(b, attempts, measure=lambda _who, rows, _seed: estimates.rate(int(rows.sum()), len(rows))):
    return chosen_value(b, attempts, measure)


def drawn_board(*shares, draws=3):
    b = board("a", grid=(1, "all"))
    b.results.draws = draws
    attempt = fill(b, 0, 1, attack=shares[0], shuffled=0.5)
    for draw, share in enumerate(shares[1:], 1):
        b.results.outcomes[Trial(attempt, "attack", 0, False, draw)] = outcome(share)
    return b, attempt


def test_the_number_is_the_mean_over_draws_and_its_bounds_combine_both_kinds_of_luck():
    b, attempt = drawn_board(0.6, 0.7, 0.8)
    found = value(b, [attempt])
    assert found.value == pytest.approx(0.7)
    assert "ONE_DRAW" not in found.flags
    spread = t.ppf(0.975, 2) * np.std([0.6, 0.7, 0.8], ddof=1) / np.sqrt(3)
    targets = max(share - estimates.rate(round(400 * share), 400, 0.025).low for share in (0.6, 0.7, 0.8))
    assert found.low == pytest.approx(0.7 - targets - spread)


def test_one_draw_is_in_doubt_and_everything_granted_is_no_draw():
    b, attempt = drawn_board(0.6)
    assert "ONE_DRAW" in value(b, [attempt]).flags
    everything = fill(b, 0, "all", attack=0.8, shuffled=0.5)
    assert "ONE_DRAW" not in value(b, [everything]).flags
    for draws, drawn in ((0, False), (1, True)):
        b.results.draws = draws
        assert b.results.drawn(attempt) is drawn
        assert not b.results.drawn(everything)


def test_two_draws_already_have_a_mean_in_the_evidence():
    for shares in ((0.6,), (0.6, 0.7)):
        b, _ = drawn_board(*shares, draws=2)
        (row,) = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
        assert ("over_draws" in row.metrics) is (len(shares) == 2)


def test_draws_change_no_level_of_flags():
    b, _ = drawn_board(0.6, 0.7, 0.8)
    assert b.results.count("attack") == 1


def test_a_draw_without_a_number_says_why_there_is_no_mean():
    known, lost = estimates.rate(240, 400), Value.unknown("the attack crashed", unit="rate", flags=("CRASHED",))
    found = over_draws([known, lost, Value.unknown("later", unit="rate")])
    assert (found.value, found.reason, found.unit) == (None, "the attack crashed", known.unit)
    assert found.flags == ("CRASHED",)
    assert over_draws([lost]) == lost


def test_bounds_at_another_level_need_nothing_but_what_is_stored():
    parts = [estimates.rate(k, 400) for k in (240, 280, 320)]
    stored = over_draws(parts)
    strict = recompute(stored, 0.005)
    again = over_draws(parts, 0.005)
    assert (strict.low, strict.high) == (pytest.approx(again.low), pytest.approx(again.high))
    assert strict.low < stored.low
    assert recompute(stored, 0.05).low == stored.low


def test_means_of_seldom_draws_cover_the_truth():
    rng, missed = np.random.default_rng(0), 0
    for _ in range(300):
        draws = np.clip(rng.normal(0.5, 0.08, 3), 0, 1)
        found = over_draws([estimates.rate(rng.binomial(450, share), 450) for share in draws])
        missed += found.high < 0.5
    assert missed <= 0.05 * 300


def test_draws_grant_other_labels_and_the_first_is_the_old_order():
    data = world()
    first = reordered(data, 3).train.release
    assert torch.equal(first, reordered(data, 3, 0).train.release)
    assert not torch.equal(first, reordered(data, 3, 1).train.release)


def test_what_each_budget_draws():
    assert [get_budget(name).draws for name in ("smoke", "standard", "full")] == [1, 3, 10]
    assert get_budget("full").draw_all


def test_others_are_judged_over_their_draws_too():
    b = board("a", "b", grid=(1, "all"))
    b.results.draws = 2
    mine, other = fill(b, 0, 1, attack=0.8, shuffled=0.5), fill(b, 1, 1, attack=0.79, validation=0.7, shuffled=0.5)
    b.results.outcomes[Trial(Attempt(1, 1), "attack", 0, False, 1)] = outcome(0.75)
    (rival,) = value(b, [mine, other]).others
    assert rival.value == pytest.approx(0.77)
    assert b.within(b.contestants([other])[0], b.contestants([mine])[0])


def test_a_run_draws_as_its_budget_says_and_tells_whom_attacks_expose(vfc):
    """End to end: otherwise nothing would show that numbers at few labels had become single draws again."""
    arguments = ("attack", "--release", "identity", "--protocol", "adaptive-probe", "--out", "o")
    code, _, errors = vfc(*arguments, "--gate", "adaptive.accuracy@1 >= 0.01")
    report = json.loads(Path("o/report.json").read_text())
    numbers = report["metrics"]
    assert code == 3, errors
    assert "ONE_DRAW" in report["gates"][0]["reason"]
    assert [name for name in ("@1", "@10", "@all") if "ONE_DRAW" in numbers[f"adaptive.accuracy{name}"]["flags"]] == [
        "@1",
        "@10",
    ]
    assert "ONE_DRAW" in numbers["adaptive.labels_to_90"]["flags"]
    assert report["target"]["control"]["status"] == "matched"
    assert numbers["adaptive.exposed@10"]["value"] > 0.5  # the identity exposes nearly everybody
    learned = [row for row in report["evidence"] if row["threat"]["level"] == "L2" and row["status"] == "measured"]
    assert learned
    assert all("exposed" in row["metrics"] for row in learned if row["goal"] == "task:side")


def test_the_chosen_and_those_within_its_interval_are_drawn_again():
    b = board("a", "b", "c", grid=(1, "all"))
    b.results.draws = 3
    for position, share in enumerate((0.8, 0.79, 0.5)):
        fill(b, position, 1, attack=share, shuffled=0.5)
    context = SimpleNamespace(budget=get_budget("standard"))
    assert evaluation(b, context)._worth_drawing(("L0", "L1", "L2")) == [Attempt(0, 1), Attempt(1, 1)]
    everybody = SimpleNamespace(budget=get_budget("full"))
    assert len(evaluation(b, everybody)._worth_drawing(("L0", "L1", "L2"))) == 3
