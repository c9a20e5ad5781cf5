"""Numbers of `membership` from outcomes written by hand: every honest adversary is judged, in every seed."""

from types import SimpleNamespace

import numpy as np
import pytest

from protocols.engine.task import Outcome
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.leaderboard import Leaderboard
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.evaluation.statistic import FEW, Statistic
from protocols.membership import study
from tests.protocols.builders import COST

N = 1000
MEMBER = np.arange(2 * N) < N


def outcome(called, falsely, sure, validation):
    """Scores that call shares of members and others members; `sure` of the members stand above everybody else."""
    place = np.arange(2 * N) % N
    scores = np.where(place < np.where(MEMBER, called, falsely) * N, 1.0, 0.0) + (MEMBER & (place < sure * N))
    rows = (MEMBER + 2 * (scores >= 1)).astype(np.uint8)
    arrays = {"targets": rows, "scores": scores, "validation": np.array([validation])}
    return Outcome(status="measured", arrays=arrays, cost=COST)


def board(seed, **found):
    """What the named adversaries did in one seed."""
    competitors = [Competitor(candidate=Candidate(adversary=name), level="L4", grows=False) for name in found]
    results = Results(competitors=competitors, seeds=(seed,))
    for position, attack in enumerate(found.values()):
        results.outcomes[Trial(Attempt(position, None), "attack", seed)] = attack
        silent = outcome(0.5, 0.5, 0.0, 0.0)
        results.outcomes[Trial(Attempt(position, None), "shuffled", seed)] = silent
        results.outcomes[Trial(Attempt(position, None), "ceiling", seed)] = outcome(0.9, 0.1, 0.5, 0.8)
    statistic = Statistic(
        goal="membership", name="membership.advantage", kind="advantage", unit="difference", floor=np.zeros(2 * N),
        few=2 * FEW, ties="budget",
    )  # fmt: skip
    return Leaderboard(results=results, statistic=statistic)


def numbers(monkeypatch, *boards):
    """The numbers of a study whose seeds ended so."""
    left = list(boards)
    monkeypatch.setattr(study, "_require", lambda _context: None)
    monkeypatch.setattr(study, "_asked", lambda _context: SimpleNamespace(shadows=()))
    monkeypatch.setattr(study, "_attacked", lambda *_: left.pop(0))
    monkeypatch.setattr(study, "_evidence", lambda *_: [])
    return study.conduct_membership(SimpleNamespace(seeds=tuple(range(len(boards))))).metrics


BROAD, SURE = outcome(0.6, 0.2, 0.016, 0.4), outcome(0.3, 0.2, 0.109, 0.1)
"""One calls many members rightly and is rarely sure; one finds few, and is sure of those."""


def test_who_is_weaker_on_average_is_judged_where_few_are_called_members(monkeypatch):
    found = numbers(monkeypatch, board(0, broad=BROAD, sure=SURE))
    assert found["membership.advantage"].others == ()  # clearly weaker there
    rate = found["membership.tpr@0.01"]
    assert (rate.candidate, rate.value) == ("broad", pytest.approx(0.016))
    assert [(each.candidate, each.value) for each in rate.others] == [("sure", pytest.approx(0.109))]


def test_with_several_seeds_everybody_is_judged_in_the_worst_of_them(monkeypatch):
    near = outcome(0.58, 0.2, 0.0, 0.39), outcome(0.64, 0.2, 0.3, 0.39)
    found = numbers(monkeypatch, *(board(seed, broad=BROAD, near=each) for seed, each in enumerate(near)))
    advantage = found["membership.advantage"]
    assert (advantage.candidate, advantage.per_seed) == ("broad", pytest.approx((0.4, 0.4)))
    (other,) = advantage.others
    assert (other.candidate, other.per_seed) == ("near", pytest.approx((0.38, 0.44)))
    assert other.high > 0.44
    (other,) = found["membership.tpr@0.01"].others
    assert (other.candidate, other.per_seed) == ("near", pytest.approx((0.0, 0.3)))
