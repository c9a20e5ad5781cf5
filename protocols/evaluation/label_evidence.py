"""From a board to evidence: one row per adversary, labels and seed, with all arms and flags."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Status, Threat, Value
from adversaries.statistics import estimates
from adversaries.threat import Grant, grants
from protocols.engine.trial import Outcome
from protocols.evaluation.board import Attempt, Board, Entry, Rows

Sidecar = dict[str, Rows]


def evidence_of(board: Board, protocol: str, goal: str, chosen: list[Attempt], rows: Sidecar) -> list[Evidence]:
    """All evidence of one board; right-or-wrong rows of every attack go into `rows`."""
    flags = {attempt: board.doubts(attempt) for attempt in board.tried()}
    for attempt, extra in _comparisons(board).items():
        flags[attempt] = tuple(sorted({*flags[attempt], *extra}))
    found = []
    for attempt in board.tried():
        for seed in board.seeds:
            outcome = board.outcomes[Entry(attempt, "attack", seed)]
            key = f"{protocol}/{goal}/{_slug(board, attempt)}/{seed}"
            if outcome.status == "measured":
                rows[key] = outcome.targets
            found.append(_row(board, attempt, seed, outcome, protocol, goal, flags[attempt], attempt in chosen, key))
    return found


def reference_row(protocol: str, goal: str, target: Rows, floor: Rows, seed: int) -> Evidence:
    """The target's own predictions (L5): a reference, never part of a headline number."""
    return Evidence(
        protocol=protocol,
        adversary="target",
        goal=goal,
        threat=Threat(level="L5", knows=_knows("L5")),
        seed=seed,
        status="measured",
        arms=Arms(
            attack=estimates.rate(int(target.sum()), len(target)), floor=estimates.rate(int(floor.sum()), len(floor))
        ),
    )


def _knows(level: str) -> tuple[str, ...]:
    return tuple(k.name.lower() for k in Grant if k in grants(level) and k.name)


def _row(
    board: Board,
    attempt: Attempt,
    seed: int,
    outcome: Outcome,
    protocol: str,
    goal: str,
    flags: tuple[str, ...],
    chosen: bool,
    key: str,
) -> Evidence:
    candidate, level = board.candidates[attempt.candidate], board.levels[attempt.candidate]
    status: Status = outcome.status  # type: ignore[assignment]
    measured = status == "measured"
    arms = {
        arm: _value(board.outcomes.get(Entry(attempt, arm, seed)))
        for arm in ("attack", "ceiling", "shuffled", "undefended")
    }
    attack = arms.pop("attack")
    doubled = board.outcomes.get(Entry(attempt, "attack", seed, doubled=True))
    metrics = {}
    if measured:
        metrics["validation"] = estimates.rate(int(outcome.validation.sum()), len(outcome.validation))
    if doubled is not None and doubled.status == "measured":
        metrics["doubled"] = estimates.rate(int(doubled.targets.sum()), len(doubled.targets))
    planted = board.outcomes.get(Entry(attempt, "planted", seed))
    if planted is not None and planted.status == "measured":
        metrics["planted"] = estimates.rate(int(planted.targets.sum()), len(planted.targets))
    return Evidence(
        protocol=protocol,
        adversary=candidate.adversary,
        goal=goal,
        threat=Threat(
            level=level,
            knows=_knows(level),
            budget=AttackBudget(
                labels_per_class=attempt.labels,  # type: ignore[arg-type]
                steps=int(outcome.cost["gradient_steps"]) if measured else None,
            ),
        ),
        seed=seed,
        status=status,
        reason=outcome.reason,
        arms=Arms(
            attack=attack.model_copy(update={"rows": key}) if attack is not None else None,
            floor=estimates.rate(int(board.floor.sum()), len(board.floor)) if measured else None,
            **arms,
        ),
        metrics=metrics,
        health=flags if measured else (("CRASHED",) if status == "failed" else ()),
        chosen=chosen,
        cost=Cost.model_validate(outcome.cost),
        settings=dict(candidate.settings),
    )


def _comparisons(board: Board) -> dict[Attempt, set[str]]:
    """WEAKER_THAN_LOWER_LEVEL and BUDGET_NOT_MONOTONE, between choices of different levels and labels."""
    found: dict[Attempt, set[str]] = defaultdict(set)
    by_level = {
        level: board.choose(board.attempts(board.grid[-1], levels=[level])) for level in sorted(set(board.levels))
    }
    levels = [(level, attempt) for level, attempt in by_level.items() if attempt is not None]
    for position, (_, weaker) in enumerate(levels):
        if any(board.clearly_above(lower, weaker) for _, lower in levels[:position]):
            found[weaker].add("WEAKER_THAN_LOWER_LEVEL")
    curve = [board.choose(board.attempts(labels)) for labels in board.grid]
    for position, more in enumerate(curve):
        for fewer in curve[:position]:
            if more is not None and fewer is not None and more != fewer and board.clearly_above(fewer, more):
                found[more].add("BUDGET_NOT_MONOTONE")
    return found


def _value(outcome: Outcome | None) -> Value | None:
    if outcome is None or outcome.status == "not_applicable":
        return None
    if outcome.status != "measured":
        return Value.unknown(outcome.reason or outcome.status)
    return estimates.rate(int(np.sum(outcome.targets)), len(outcome.targets))


def _slug(board: Board, attempt: Attempt) -> str:
    name = board.candidates[attempt.candidate].name.replace(" ", "-")
    return f"{name}@{attempt.labels}" if attempt.labels is not None else name
