"""The target model as positive control: it reads the release, so that a working ladder with all labels must too.

If the strongest honest adversary with all labels stays clearly short of it, the ladder is too weak here or there is a
secret; in either case the silence of other attacks proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from adversaries.evidence import Value
from adversaries.goals.label import TaskLabel
from adversaries.health import LEVEL, POWER
from adversaries.statistics import estimates, intervals
from protocols.engine.prepared import TargetRows
from protocols.engine.task import Rows
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context
from protocols.evaluation.label_evaluation import LabelEvaluation
from protocols.evaluation.leaderboard import Contestant, Leaderboard
from protocols.evaluation.results import Attempt
from reports.model.report import LadderControl

UNMATCHED, UNKNOWN = "TARGET_UNMATCHED", "TARGET_UNKNOWN"
SHARE = 0.8
"""How much of the way from the floor to the lesser of target and ceiling somebody must come."""

UNAFFECTED = ("target", "transfer", "release", "leakage", "evasion")
"""First words of metrics that no trained attacker gives, so that the strength of the ladder says nothing of them."""

PROBES = tuple(Candidate(adversary=name) for name in ("linear", "knn", "mlp", "trees"))
"""Who is tried on the task label where the protocols of a run do not try the whole ladder."""


def affected(metric: str) -> bool:
    """Whether a metric depends on the strength of trained attackers."""
    return metric.split(".")[0] not in UNAFFECTED


def target_control(context: Context, ladder: Leaderboard | None) -> LadderControl:
    """Whether an adversary with all labels reads the release about as well as its target model does.

    Args:
        context: the run.
        ladder: everybody who attacked the task label, if that was done; otherwise a few probes are fitted here.
    """
    prepared = context.prepared
    target = prepared.target.release
    if target is None:
        return LadderControl(status="unknown", reason=prepared.targetless or "the release names no target model")
    board = _attempts_with_all_labels(ladder)
    if ladder is None or not board:
        ladder = _probed(context)
        board = _attempts_with_all_labels(ladder)
    return judge_ladder(ladder, board, prepared.target, originals=prepared.world.train.images is not None)


def judge_ladder(
    board: Leaderboard, attempts: Sequence[Attempt], target: TargetRows, *, originals: bool
) -> LadderControl:
    """Compare everybody with all labels with the target model.

    Args:
        board: who attacked the task label.
        attempts: those with all labels.
        target: how the target model did on the same target images.
        originals: whether the ceiling is measured on the images themselves.
    """
    floor, hits = board.statistic.floor, target.release
    if floor is None or hits is None:
        raise ValueError("expected the task label's floor and the target's predictions")
    accuracy = estimates.rate(int(hits.sum()), len(hits))
    if not (accuracy.low or 0.0) > (board.floor(len(hits)).high or 0.0):
        return LadderControl(status="unknown", reason="the target model is not above the floor on the release")
    chosen, best = board.choose(attempts), board.choose(attempts, "ceiling") if originals else None
    ceilings = [] if best is None else board.rows(best, "ceiling")
    honest = [each for each in board.contestants(attempts) if not board.dishonest(each.attempt)]
    goals = [[hits] * len(board.results.seeds), *([ceilings] if ceilings else [])]
    short = [all(_clearly_short(board.rows(each), floor, goal) for goal in goals) for each in honest]
    facts: dict[str, object] = {
        "candidate": None if chosen is None else board.name(chosen),
        "accuracy": None if chosen is None else board.over_seeds(chosen, _rate),
        "ceiling": None if best is None else board.over_seeds(best, _rate, "ceiling"),
    }
    if not all(short):
        return LadderControl.model_validate({"status": "matched", **facts})
    reason = "no adversary with all labels was measured"
    if honest:
        reason = (
            f"each of {len(honest)} adversaries with all labels stays clearly short of what the target model reads "
            "from the release"
        )
    return LadderControl.model_validate({"status": "unmatched", "reason": reason, **facts})


def with_flags(metrics: Mapping[str, Value], control: LadderControl | None, release: Sequence[str]) -> dict[str, Value]:
    """Metrics with the power flags of the whole run.

    Args:
        metrics: of the catalog.
        control: of the ladder; None where no metric depends on trained attackers.
        release: flags of the release; those that say that nothing holds go onto every number.
    """
    everywhere = {flag for flag in release if flag in POWER}
    found = {}
    for name, value in metrics.items():
        flags = {*value.flags, *everywhere}
        if control is not None and control.status == "unmatched" and affected(name):
            flags.add(UNMATCHED)
        if control is not None and control.status == "unknown" and name.startswith("adaptive."):
            flags.add(UNKNOWN)
        found[name] = value.model_copy(update={"flags": tuple(sorted(flags))})
    return found


def _attempts_with_all_labels(board: Leaderboard | None) -> list[Attempt]:
    if board is None:
        return []
    largest = board.results.grid[-1]
    return [a for a in board.results.attempts(largest) if a.budget == largest and board.results.measured(a, "attack")]


def _probed(context: Context) -> Leaderboard:
    """A few probes on the task label, with all labels, their ceilings and their shuffled controls."""
    budget = replace(
        context.budget, labels=context.budget.labels[-1:], transforms="none", doubling="none", shuffle_all=True
    )
    own = replace(context, budget=budget, threat="L2")
    evaluation = LabelEvaluation.of(own, TaskLabel(label=context.prepared.parts.task), PROBES, undefended=False)
    evaluation.schedule.attack()
    return evaluation.board


def _clearly_short(ours: Sequence[Rows], floor: Rows, goals: Sequence[Rows]) -> bool:
    """Whether an adversary comes less than `SHARE` of the way, beyond chance, in every seed."""
    for rows, goal in zip(ours, goals, strict=True):
        hits, base, above = (np.asarray(each, np.float64) for each in (rows, floor, goal))
        if len(hits) < 2 or intervals.mean_bounds(hits - base - SHARE * (above - base), LEVEL)[2] >= 0:
            return False
    return bool(ours)


def _rate(_contestant: Contestant, rows: Rows, _seed: int) -> Value:
    return estimates.rate(int(rows.sum()), len(rows))
