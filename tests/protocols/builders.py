"""Leaderboards of one attack on a label, with outcomes written by hand."""

from dataclasses import replace

import numpy as np

from protocols.engine.prepared import TargetRows
from protocols.engine.task import Outcome, label_arrays
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.flags import health_flags
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.metrics import LabelMetrics
from protocols.evaluation.results import Attempt, Competitor, Results, Trial
from protocols.evaluation.statistic import Statistic

N = 400
COST = {"seconds": 1.0, "gradient_steps": 10, "queries": 0, "peak_bytes": 0}


def hits(share, seed=0, n=N):
    """Right and wrong in random order, with a share of right ones."""
    rows = np.zeros(n, np.uint8)
    rows[np.random.default_rng(seed).permutation(n)[: round(share * n)]] = 1
    return rows


def measured(validation, targets, *, chance=0.5, flags=()):
    """The outcome of one trial, from the rows of both parts."""
    arrays = label_arrays(validation, targets, chance)
    return Outcome(status="measured", arrays=arrays, flags=tuple(flags), cost=COST)


def outcome(targets, validation=None, *, chance=0.5, flags=(), seed=0):
    """The outcome of one trial, from the shares of both parts."""
    share = targets if validation is None else validation
    return measured(hits(share, seed, 100), hits(targets, seed), chance=chance, flags=flags)


def board(*names, grid=(1, "all"), floor=0.5, levels=(), seeds=(0,), common=(), unchecked=False, **facts):
    """A leaderboard on which nothing is known yet.

    Args:
        names: of the adversaries.
        grid: labels per class.
        floor: share of the floor's right guesses, or its rows.
        levels: of the adversaries; L2 for all unless given.
        seeds: attack seeds.
        common, unchecked: as in `Results`.
        facts: of every competitor; shuffled controls are asked of nobody unless `shuffles` is given.
    """
    facts = {"shuffles": False, **facts}
    competitors = [
        Competitor(candidate=Candidate(adversary=name), level=level, grows=level >= "L2", **facts)
        for name, level in zip(names, levels or ["L2"] * len(names), strict=True)
    ]
    results = Results(competitors=competitors, seeds=seeds, grid=grid, common=common, unchecked=unchecked)
    rows = hits(floor, 99) if isinstance(floor, float) else floor
    return Leaderboard(results=results, statistic=Statistic(goal="task:y", floor=rows, needs_learners=True))


def change(b, position, **facts):
    """Make another of a competitor, in place."""
    b.results.competitors[position] = replace(b.results.competitors[position], **facts)


def enter(b, attempt, arm, found, *, seed=0, doubled=False):
    """Write an outcome down."""
    b.results.outcomes[Trial(attempt, arm, seed, doubled)] = found


def fill(
    b, position, labels="all", *, attack, ceiling=0.9, shuffled=None, doubled=None, validation=None, flags=(), seed=0
):
    """Write the outcomes of an attempt down, arm by arm."""
    attempt = Attempt(position, labels)
    enter(b, attempt, "attack", outcome(attack, validation, flags=flags, seed=seed))
    if ceiling is not None:
        enter(b, attempt, "ceiling", outcome(ceiling))
    if shuffled is not None:
        enter(b, attempt, "shuffled", outcome(shuffled))
    if doubled is not None:
        enter(b, attempt, "attack", outcome(doubled, seed=seed), doubled=True)
    return attempt


def chosen(b, attempts, arm="attack"):
    """The attempt that is chosen, or None."""
    found = b.choose(attempts, arm)
    return None if found is None else found.attempt


def missed(b, attempt, attempts):
    """The attempts that selection has missed."""
    return [each.attempt for each in b.missed(Contestant(attempt), attempts)]


def flags_of(b, attempt):
    """The health flags of an attempt."""
    return health_flags(b, Contestant(attempt))


def numbers(b, per_class=60.0, target=0.9, **rows):
    """What computes the metrics; `target` is the share that the intended use gets right, or None without one."""
    release = None if target is None else hits(target, 7)
    return LabelMetrics(board=b, target=TargetRows(**{"release": release, **rows}), per_class=per_class, rows={})


def evaluation(b, context=None):
    """An evaluation whose outcomes are known."""
    return LabelEvaluation(context=context, goal=None, board=b, handle=None, undefended=None, digests=None)
