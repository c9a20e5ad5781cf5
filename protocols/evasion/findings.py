"""From a tournament to evidence and to `evasion.accuracy@EPS`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adversaries.attacks.evasion.ball import Ball
from adversaries.evidence import Arms, AttackBudget, Cost, Evidence, Threat, Value
from adversaries.goals.worst_case import at_floor
from adversaries.statistics import estimates, levels
from protocols.engine.task import Outcome, Rows
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Trial
from protocols.evasion.plan import Contender, Plan, balls
from protocols.evasion.study import Tournament, baseline_of, trial_of
from vfc.errors import NotApplicableError

NAME = "evasion"


def conduct_evasion(context: Context) -> Findings:
    """Attack the input of the deployed pipeline in every ball."""
    tournament = Tournament(context=context, plan=Plan.of(context.settings))
    try:
        tournament.run()
    except NotApplicableError as reason:
        return nothing(context, str(reason))
    evidence = [
        row
        for position in tournament.contenders
        for norm in tournament.plan.contenders[position].norms
        for seed in context.seeds
        for row in _rows(tournament, position, norm, seed)
    ]
    return Findings(
        evidence=evidence, metrics={f"evasion.accuracy@{b.budget}": _metric(tournament, b) for b in balls()}
    )


def nothing(context: Context, reason: str) -> Findings:
    """What is said where there is no pipeline to attack."""
    goal, seed = goal_of(context), context.settings.seed
    evidence = [
        unmeasured(NAME, each.candidate, goal, threat_of(each.level), seed, "not_applicable", reason)
        for each in Plan.of(context.settings).contenders
    ]
    return Findings(
        evidence=evidence, metrics={f"evasion.accuracy@{ball.budget}": Value.unknown(reason) for ball in balls()}
    )


def goal_of(context: Context) -> str:
    """What the attacks are after: that the task label is no longer predicted."""
    return f"evasion:{context.prepared.parts.task}"


def _metric(tournament: Tournament, ball: Ball) -> Value:
    """Target accuracy under the per-target worst case in one ball."""
    values = []
    for seed in tournament.context.seeds:
        flags = tournament.flags(ball, seed)
        worst = tournament.worst(ball, "attack", seed)
        if worst is None:
            values.append(Value.unknown("no attack was measured in this ball", flags=flags))
            continue
        key = f"{NAME}/worst@{ball.budget}/{seed}"
        values.append(_rate(worst, tournament.context.rows, key).model_copy(update={"flags": flags}))
    return levels.over_seeds(values)


def _rows(tournament: Tournament, position: int, norm: str, seed: int) -> list[Evidence]:
    """One row per ball; one for all balls where the attack was not measured."""
    contender = tournament.plan.contenders[position]
    outcome = tournament.outcomes.get(trial_of(position, norm, "attack", seed))
    if outcome is None:
        reason = "the defense gives gradients of its own, so nothing stands in for them"
        outcome = Outcome.empty("not_applicable", reason)
    if outcome.status == "measured":
        return [_measured(tournament, position, ball, seed, outcome) for ball in balls() if ball.norm == norm]
    candidate = replace(contender.candidate, settings={"norm": norm, **contender.settings})
    goal, threat = goal_of(tournament.context), threat_of(contender.level)
    return [unmeasured(NAME, candidate, goal, threat, seed, outcome.status, outcome.reason)]


def _measured(tournament: Tournament, position: int, ball: Ball, seed: int, outcome: Outcome) -> Evidence:
    contender = tournament.plan.contenders[position]
    key = trial_of(position, ball.norm, "attack", seed)
    right, floor = (_need(tournament.right(each, ball)) for each in (key, baseline_of(key)))
    ceiling = tournament.right(key._replace(arm="ceiling"), ball)
    doubled = tournament.right(key._replace(doubled=True), ball)
    untouched = tournament.outcomes[baseline_of(key)].arrays["untouched"]
    place = [each.budget for each in balls() if each.norm == ball.norm].index(ball.budget)
    left, crashed = (int(outcome.arrays[name][place].sum()) for name in ("left", "crashed"))
    goal = goal_of(tournament.context)
    slug = f"{contender.candidate.name.replace(' ', '-')}@{ball.budget}"
    metrics = {
        "unperturbed": _rate(untouched),
        "outside": estimates.exact(left),
        "crashed": estimates.exact(crashed),
    }
    if doubled is not None:
        metrics["doubled"] = _rate(doubled)
    return Evidence(
        protocol=NAME,
        adversary=contender.candidate.adversary,
        goal=goal,
        threat=_threat(contender, outcome, len(right)),
        seed=seed,
        status="measured",
        arms=Arms(
            attack=_rate(right, tournament.context.rows, f"{NAME}/{slug}/{seed}"),
            floor=_rate(floor),
            ceiling=None if ceiling is None else _rate(ceiling),
        ),
        metrics=metrics,
        health=_health(tournament, key, ball, outcome),
        chosen=_strongest(tournament, ball, seed) == position,
        cost=Cost.model_validate(outcome.cost),
        settings={"norm": ball.norm, "eps": ball.budget, **contender.settings},
    )


def _health(tournament: Tournament, key: Trial, ball: Ball, outcome: Outcome) -> tuple[str, ...]:
    """Doubts about one attack in one ball."""
    found = {*tournament.common, *outcome.flags}
    floor, right = tournament.right(baseline_of(key), ball), tournament.right(key, ball)
    if at_floor(right, floor):
        found.add("AT_FLOOR")
    if tournament.plan.contenders[key.attempt.candidate].level == "L4" and tournament.above(
        right, tournament.worst(ball, "attack", key.seed, ["L3"])
    ):
        found.add("WEAKER_THAN_LOWER_LEVEL")
    return tuple(sorted(found))


def _strongest(tournament: Tournament, ball: Ball, seed: int) -> int | None:
    """The attack that leaves the fewest targets right in one ball; the first of several."""
    entries = [
        (int(_need(tournament.right(trial_of(i, ball.norm, "attack", seed), ball)).sum()), i)
        for i, _ in tournament.measured(ball.norm, "attack", seed)
    ]
    return min(entries)[1] if entries else None


def _threat(contender: Contender, outcome: Outcome, targets: int) -> Threat:
    steps, queries = int(outcome.cost["gradient_steps"]), int(outcome.cost["queries"])
    return threat_of(contender.level, AttackBudget(steps=steps or None, queries=-(-queries // max(1, targets))))


def _rate(rows: Rows, sidecar: dict[str, Rows] | None = None, key: str | None = None) -> Value:
    """Accuracy, with its rows kept in the sidecar under a key."""
    value = estimates.rate(int(rows.sum()), len(rows))
    if sidecar is None or key is None:
        return value
    sidecar[key] = rows.astype(np.uint8)
    return value.model_copy(update={"rows": key})


def _need(rows: Rows | None) -> Rows:
    if rows is None:
        raise ValueError("expected a measured attack")
    return rows
