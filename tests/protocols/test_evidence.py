"""One row of evidence per attempt and seed: where its rows are kept, what was granted, and what stands beside it."""

from types import SimpleNamespace

import numpy as np
import pytest

from adversaries.statistics import estimates
from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.evidence import EvidenceMaker, pairs_budget, reference_row
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.pairs import PairsEvaluation, pairs_statistic
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from tests.protocols.builders import COST, board, change, enter, fill, hits, outcome

# --- labels ---


def labels_board(**facts):
    b = board("linear", "frozen", levels=("L2", "L0"), **facts)
    change(b, 1, candidate=Candidate(adversary="frozen", settings={"model": "mlp"}))
    fill(b, 0, 1, attack=0.6, ceiling=None)
    fill(b, 0, "all", attack=0.8, ceiling=0.95, shuffled=0.5, doubled=0.81)
    fill(b, 1, None, attack=0.7)
    return b


def test_of_labels_keys_name_the_goal_the_adversary_and_the_labels():
    sidecar = {}
    rows = EvidenceMaker(board=labels_board(), protocol="p", sidecar=sidecar).rows([], {})
    assert [row.arms.attack.rows for row in rows] == [
        "p/task:y/linear@1/0", "p/task:y/linear@all/0", "p/task:y/frozen-mlp/0",
    ]  # fmt: skip
    assert [row.settings for row in rows] == [{}, {}, {"model": "mlp"}]
    granted = [(row.threat.level, row.threat.budget.labels_per_class, row.threat.budget.pairs) for row in rows]
    assert granted == [("L2", 1, None), ("L2", "all", None), ("L0", None, None)]
    assert all(row.threat.budget.steps == COST["gradient_steps"] for row in rows)
    for row in rows:
        kept = sidecar[row.arms.attack.rows]
        assert kept.dtype == np.uint8
        assert kept.mean() == pytest.approx(row.arms.attack.value)


def test_of_labels_an_attempt_shows_its_own_controls_and_checks():
    few, every, frozen = EvidenceMaker(board=labels_board(), protocol="p", sidecar={}).rows([], {})
    assert (few.arms.ceiling, few.arms.shuffled) == (None, None)
    assert (every.arms.ceiling.value, every.arms.shuffled.value) == (0.95, 0.5)
    assert every.metrics["doubled"].value == 0.81
    assert set(few.metrics) == set(frozen.metrics) == {"validation"}
    assert every.arms.floor.value == 0.5


def test_what_is_chosen_and_what_was_compared_is_said_of_the_attempt():
    b, best = labels_board(), Contestant(Attempt(0, "all"))
    maker = EvidenceMaker(board=b, protocol="p", sidecar={}, beside={"anchor": estimates.exact(1.0, "rate")})
    few, every, frozen = maker.rows([best], {Attempt(1, None): {"BUDGET_NOT_MONOTONE"}})
    assert [row.chosen for row in (few, every, frozen)] == [False, True, False]
    assert "anchor" in every.metrics
    assert "anchor" not in few.metrics
    assert [("BUDGET_NOT_MONOTONE" in row.health) for row in (few, every, frozen)] == [False, False, True]


@pytest.mark.parametrize(("status", "health"), [("failed", ("CRASHED",)), ("not_applicable", ())])
def test_of_labels_an_attempt_without_a_number_still_shows_its_controls(status, health):
    b = labels_board(common=("UNCALIBRATED",))
    enter(b, Attempt(0, "all"), "attack", Outcome.empty(status, "because"))
    enter(b, Attempt(0, "all"), "planted", outcome(0.75))
    sidecar = {}
    (row,) = [r for r in EvidenceMaker(board=b, protocol="p", sidecar=sidecar).rows([], {}) if r.status != "measured"]
    assert (row.status, row.reason, row.health) == (status, "because", health)
    assert (row.arms.ceiling.value, row.arms.shuffled.value, row.arms.floor) == (0.95, 0.5, None)
    assert {name: value.value for name, value in row.metrics.items()} == {"doubled": 0.81, "planted": 0.75}
    assert row.arms.attack is None or row.arms.attack.reason == "because"
    assert "p/task:y/linear@all/0" not in sidecar


def test_a_seed_that_is_missing_takes_no_doubts_from_the_others():
    b = board("linear", seeds=(0, 1), common=("UNCALIBRATED",), unchecked=True, trains=True)
    attempt = fill(b, 0, attack=0.8, ceiling=None)
    enter(b, attempt, "attack", Outcome.empty("failed", "boom"), seed=1)
    first, second = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    assert first.health == ("CEILING_MISSED", "CONVERGENCE_UNCHECKED", "UNCALIBRATED")
    assert second.health == ("CRASHED",)
    for arm in ("ceiling", "shuffled"):
        for seed in (0, 1):
            enter(b, attempt, arm, outcome(0.95 if arm == "ceiling" else 0.5), seed=seed)
    first, _ = EvidenceMaker(board=b, protocol="p", sidecar={}).rows([], {})
    assert first.health == ("CONVERGENCE_UNCHECKED", "UNCALIBRATED")


# --- pairs ---

FOUND = pairs_statistic("m", "match:image", "hit", variants=("nearest", "direction"), floor=np.full(400, 0.01))


def pairs_results():
    candidate = Candidate(adversary="decoder", settings={"form": "image"})
    results = Results(competitors=[Competitor(candidate=candidate, level="L3")], seeds=(0,), grid=(100, "all"))

    def found(*shares):
        arrays = {"targets.chance": np.array([0.01]), "validation.chance": np.array([0.01])}
        for rule, share in zip(FOUND.variants, shares, strict=True):
            arrays |= {f"targets.hit.{rule}": hits(share), f"validation.hit.{rule}": hits(share, n=100)}
        return Outcome(status="measured", arrays=arrays, cost=COST)

    results.outcomes[Trial(Attempt(0, 100), "attack", 0)] = found(0.4, 0.2)
    results.outcomes[Trial(Attempt(0, "all"), "attack", 0)] = found(0.5, 0.6)
    results.outcomes[Trial(Attempt(0, "all"), "ceiling", 0)] = found(0.9, 1.0)
    results.outcomes[Trial(Attempt(0, "all"), "shuffled", 0)] = found(0.01, 0.0)
    return results


def test_of_pairs_keys_and_settings_name_the_pairs_and_the_variant():
    sidecar, results = {}, pairs_results()
    ours = Leaderboard(results=results, statistic=FOUND)
    evaluation = PairsEvaluation(
        context=SimpleNamespace(rows=sidecar), protocol="linkage", results=results, boards=(ours,), task=None,
        defense="",
    )  # fmt: skip
    few, every = evaluation.evidence({"match:image": {"anchor": estimates.exact(1.0, "rate")}})
    assert few.arms.attack.rows == "linkage/match:image/decoder-image@100@nearest/0"
    assert every.arms.attack.rows == "linkage/match:image/decoder-image@all@direction/0"
    assert few.settings == {"form": "image", "pairs": 100, "read_by": "nearest"}
    assert every.settings == {"form": "image", "pairs": "all", "read_by": "direction"}
    assert [row.threat.budget.pairs for row in (few, every)] == [100, None]
    assert [row.threat.budget.labels_per_class for row in (few, every)] == [None, None]
    assert sidecar[few.arms.attack.rows].tolist() == hits(0.4).tolist()
    # Controls are those of the most pairs, read in the attempt's own variant.
    assert (few.arms.ceiling.value, few.arms.shuffled.value) == (0.9, 0.01)
    assert (every.arms.ceiling.value, every.arms.shuffled.value) == (1.0, 0.0)
    assert (few.chosen, every.chosen) == (False, True)
    assert "anchor" in every.metrics
    assert "anchor" not in few.metrics


def test_of_pairs_an_attempt_without_a_number_is_listed_once_and_without_controls():
    results = pairs_results()
    results.outcomes[Trial(Attempt(0, "all"), "attack", 0)] = Outcome.empty("not_applicable", "no pairs")
    boards = tuple(Leaderboard(results=results, statistic=FOUND) for _ in range(2))
    evaluation = PairsEvaluation(
        context=SimpleNamespace(rows={}), protocol="linkage", results=results, boards=boards, task=None, defense=""
    )
    found = evaluation.evidence({})
    assert [row.status for row in found] == ["measured", "not_applicable", "measured"]
    (row,) = [row for row in found if row.status != "measured"]
    assert row.settings == {"form": "image", "pairs": "all"}
    assert (row.reason, row.arms.ceiling, row.metrics) == ("no pairs", None, {})


def test_further_fields_come_from_the_outcome():
    b = labels_board()
    maker = EvidenceMaker(
        board=b, protocol="p", sidecar={}, budget=pairs_budget,
        described=lambda outcome: {"settings": {"steps": outcome.cost["gradient_steps"]}},
    )  # fmt: skip
    assert [row.settings for row in maker.rows([], {})] == [{"steps": COST["gradient_steps"]}] * 3


def test_the_targets_own_row_has_its_rate_and_the_floors():
    row = reference_row("p", "task:y", hits(0.75), hits(0.5), 3)
    assert row.arms.attack == estimates.rate(300, 400)
    assert row.arms.floor == estimates.rate(200, 400)
    assert (row.adversary, row.threat.level, row.seed) == ("target", "L5", 3)
