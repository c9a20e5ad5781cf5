"""Who is chosen, who is doubtful, and what a number says, on outcomes of adversaries that learn from pairs."""

from types import SimpleNamespace

import numpy as np
import pytest

from adversaries.statistics import estimates, levels
from protocols.engine.budget import get_budget
from protocols.engine.identity import digest_of_defense
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.flags import health_flags
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.pairs import PairsEvaluation, pairs_statistic
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from vfc.defense import DEFENSES

DECIBELS = pairs_statistic("inversion.psnr", "reconstruction:psnr", "psnr", kind="mean", unit="dB", margin=0.5)
FOUND = pairs_statistic(
    "inversion.identification", "found", "hit", variants=("nearest", "direction"), floor=np.full(200, 0.01)
)
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


def competitor(name, *, blind=False, level="L3"):
    return Competitor(candidate=Candidate(adversary=name), level=level, grows=False, shuffles=not blind, blind=blind)


def results_of(**attacks):
    """Results whose last competitor is the floor's guesser; every attack has a good ceiling and a clean control."""
    rng = np.random.default_rng(0)
    competitors = [competitor(name, level="L4" if name == "white" else "L3") for name in attacks]
    guesser = competitor("mean-image", blind=True)
    results = Results(competitors=[*competitors, guesser], seeds=(0,), grid=(100, "all"))
    for position, (psnr, found) in enumerate(attacks.values()):
        attempt = Attempt(position, None)
        results.outcomes[Trial(attempt, "attack", 0)] = outcome(rng, psnr, found)
        results.outcomes[Trial(attempt, "ceiling", 0)] = outcome(rng, 60.0, (1.0, 1.0))
        results.outcomes[Trial(attempt, "shuffled", 0)] = outcome(rng, 10.0, (0.01, 0.01))
    results.outcomes[Trial(Attempt(len(attacks), None), "attack", 0)] = outcome(rng, 11.0, (0.01, 0.01))
    return results


def by(statistic, results):
    return Leaderboard(results=results, statistic=statistic)


def evaluated(results, sidecar=None):
    rows = {} if sidecar is None else sidecar
    boards = (by(DECIBELS, results), by(FOUND, results))
    context = SimpleNamespace(rows=rows)
    return PairsEvaluation(
        context=context, protocol="inversion", results=results, boards=boards, task=None, defense=""
    )  # fmt: skip


def metric(results, statistic, sidecar=None):
    return evaluated(results, sidecar).metric(by(statistic, results))


def rows_of(results):
    """Evidence of the first statistic."""
    return [row for row in evaluated(results).evidence({}) if row.goal == DECIBELS.goal]


def test_the_best_on_validation_is_chosen_for_every_aspect_by_itself():
    results = results_of(weak=(14.0, (0.9, 0.2)), strong=(20.0, (0.3, 0.5)))
    tried = results.tried()
    assert by(DECIBELS, results).choose(tried) == Contestant(Attempt(1, None))
    assert by(FOUND, results).choose(tried) == Contestant(Attempt(0, None), "nearest")
    value = metric(results, DECIBELS)
    rows = results.outcomes[Trial(Attempt(1, None), "attack", 0)].arrays["targets.psnr"]
    assert value.value == pytest.approx(rows.mean())
    assert value.low == pytest.approx(estimates.mean(rows, "dB").low)
    assert value.flags == ()
    assert metric(results, FOUND).value == pytest.approx(0.9)


def test_who_reads_few_rows_is_compared_on_those_rows():
    results = results_of(full=(15.0, (0.5, 0.5)))
    rng = np.random.default_rng(1)
    results.competitors.insert(1, competitor("few", level="L4"))
    floor = results.outcomes.pop(Trial(Attempt(1, None), "attack", 0))
    # The first rows are easy for everybody, the floor's guesser too.
    for each in (floor, results.outcomes[Trial(Attempt(0, None), "attack", 0)]):
        each.arrays["validation.psnr"][:10] += 20
    results.outcomes[Trial(Attempt(2, None), "attack", 0)] = floor
    few = outcome(rng, 34.0)
    few = Outcome(status="measured", cost=COST, arrays={name: rows[:10] for name, rows in few.arrays.items()})
    results.outcomes[Trial(Attempt(1, None), "attack", 0)] = few
    assert by(DECIBELS, results).strength(Contestant(Attempt(1, None))) < 5
    assert by(DECIBELS, results).choose(results.tried()).attempt.candidate == 0
    assert "TOO_FEW_TARGETS" in health_flags(by(DECIBELS, results), Contestant(Attempt(1, None)))


def test_a_rival_that_selection_missed_is_named_and_judged_too():
    results = results_of(lucky=(20.0, (0.5, 0.5)), better=(19.0, (0.5, 0.5)))
    arrays = results.outcomes[Trial(Attempt(1, None), "attack", 0)].arrays
    arrays["targets.psnr"] += 5
    value = metric(results, DECIBELS)
    assert "SELECTION_MISSED" in value.flags
    assert value.also[0].value == pytest.approx(arrays["targets.psnr"].mean())


@pytest.mark.parametrize(("psnr", "found"), [(30.0, (0.01, 0.01)), (10.0, (0.2, 0.01)), (10.0, (0.01, 0.2))])
def test_success_on_shuffled_pairs_drops_an_adversary(psnr, found):
    results = results_of(honest=(15.0, (0.5, 0.5)), cheat=(40.0, (1.0, 1.0)))
    cheated = outcome(np.random.default_rng(2), psnr, found, beside=10.0)
    results.outcomes[Trial(Attempt(1, None), "shuffled", 0)] = cheated
    assert by(DECIBELS, results).dishonest(Attempt(1, None)) == ("SHUFFLED_ABOVE_CHANCE",)
    value = metric(results, DECIBELS)
    assert value.value < 16
    assert "SHUFFLED_ABOVE_CHANCE" in value.flags


def test_a_blind_adversary_has_its_ceiling_missed():
    results = results_of(ignorant=(9.0, (0.01, 0.01)))
    results.outcomes[Trial(Attempt(0, None), "ceiling", 0)] = outcome(np.random.default_rng(2), 9.0, (0.01, 0.01))
    assert {"CEILING_MISSED", "AT_FLOOR"} <= set(health_flags(by(DECIBELS, results), Contestant(Attempt(0, None))))
    # The floor's guesser is the best: without anybody who sees, that says nothing.
    assert "CEILING_MISSED" in metric(results, DECIBELS).flags
    assert "CEILING_MISSED" not in metric(results_of(sees=(9.0, (0.01, 0.01))), DECIBELS).flags


def test_without_controls_or_after_a_crash_nothing_is_trusted():
    results = results_of(fine=(20.0, (0.5, 0.5)))
    del results.outcomes[Trial(Attempt(0, None), "shuffled", 0)]
    assert "CRASHED" in metric(results, DECIBELS).flags
    results = results_of(fine=(20.0, (0.5, 0.5)), broken=(1.0, (0.0, 0.0)))
    results.outcomes[Trial(Attempt(1, None), "attack", 0)] = Outcome.empty("failed", "boom")
    assert "CRASHED" in metric(results, DECIBELS).flags
    (row,) = [row for row in rows_of(results) if row.status == "failed"]
    assert row.reason == "boom"


def test_more_knowledge_and_more_pairs_are_never_weaker_without_a_flag():
    results = results_of(black=(20.0, (0.5, 0.5)), white=(15.0, (0.5, 0.5)))
    flags = {row.adversary: row.health for row in rows_of(results)}
    assert "WEAKER_THAN_LOWER_LEVEL" in flags["white"]
    assert "WEAKER_THAN_LOWER_LEVEL" not in flags["black"]
    results = results_of(fine=(20.0, (0.5, 0.5)))
    rng = np.random.default_rng(3)
    for pairs, psnr in ((100, 20.0), ("all", 18.0)):
        for arm, level in (("attack", psnr), ("ceiling", 60.0), ("shuffled", 10.0)):
            results.outcomes[Trial(Attempt(0, pairs), arm, 0)] = outcome(rng, level, (0.01, 0.01))
    rows = rows_of(results)
    assert [row.settings["pairs"] for row in rows if "BUDGET_NOT_MONOTONE" in row.health] == ["all"]


def test_training_twice_as_long_must_not_make_it_clearly_stronger():
    results = results_of(slow=(20.0, (0.5, 0.5)))
    rng = np.random.default_rng(4)
    for more, flagged in ((20.2, False), (22.0, True)):
        results.outcomes[Trial(Attempt(0, None), "attack", 0, True)] = outcome(rng, more)
        assert ("NOT_CONVERGED" in health_flags(by(DECIBELS, results), Contestant(Attempt(0, None)))) is flagged


def test_of_equals_more_pairs_win():
    results = results_of(fine=(20.0, (0.5, 0.5)))
    same = results.outcomes.pop(Trial(Attempt(0, None), "attack", 0))
    for pairs in (100, "all"):
        results.outcomes[Trial(Attempt(0, pairs), "attack", 0)] = same
    assert by(DECIBELS, results).choose(results.tried()).attempt.budget == "all"


def test_seeds_are_repeats_and_rows_are_kept():
    results = results_of(fine=(20.0, (0.5, 0.5)))
    results.seeds = (0, 1)
    for trial, found in list(results.outcomes.items()):
        results.outcomes[trial._replace(seed=1)] = found
    sidecar = {}
    value = metric(results, DECIBELS, sidecar)
    assert len(value.per_seed) == 2
    assert value.n == 200
    assert set(value.rows.split(",")) <= set(sidecar)
    assert levels.recompute(value, 0.01, sidecar).low < value.low


@pytest.mark.parametrize(("threat", "shown"), [("L3", False), ("L4", True), ("L5", True)])
def test_the_defense_names_results_only_where_somebody_is_shown_it(threat, shown):
    defense = DEFENSES.get("identity")()
    prepared = SimpleNamespace(
        told=False, world=SimpleNamespace(targets=range(200)), dataset=SimpleNamespace(name="d"),
        publisher=SimpleNamespace(defense=defense),
    )  # fmt: skip
    context = SimpleNamespace(
        prepared=prepared, threat=threat, seeds=(0,), budget=get_budget("standard"), common=("UNCALIBRATED",)
    )
    found = PairsEvaluation.of(context, "inversion", [competitor("ridge-decoder")], [DECIBELS, FOUND], task=None)
    assert found.defense == (digest_of_defense(defense) if shown else "")
    assert [board.statistic for board in found.boards] == [DECIBELS, FOUND]
    assert found.results.common == ("UNCALIBRATED",)
    assert not found.results.unchecked
