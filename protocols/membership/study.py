"""Conducting `membership`: shadow defenses, one choice and one threshold on them, one grading on the real defense.

Axes: n members and n non-members, s shadow defenses, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from adversaries.evidence import Evidence, Value
from adversaries.goals.membership import Shadows
from adversaries.goals.membership_grading import MembershipInputs, roc
from adversaries.statistics import levels
from protocols.engine.identity import fingerprint
from protocols.engine.shadows import NO_DEFENSE, Question, Shadow, Universe, fitted_shadows, learns
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context, Findings
from protocols.membership.attempt import GOAL, NAME, Attempt, threat
from protocols.membership.tasks import ReadTask, measured
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest

MOST, LARGEST_UNIVERSE = 2000, 4000
"""Members (and non-members) graded, and images that shadows are drawn from, at most."""

CANDIDATES = (
    Candidate(adversary="loss-threshold"),
    *(Candidate(adversary="lira", settings={"signal": signal}) for signal in ("confidence", "kl", "change", "norm")),
    Candidate(adversary="shadow-classifier"),
)


def conduct_membership(context: Context) -> Findings:
    """Ask of members and non-members who is who."""
    try:
        _require(context)
        question = Question.drawn(context.prepared.parts, MOST, context.settings.seed)
        universe = _universe(context, question)
        shadows = fitted_shadows(context.prepared, context.trainer, universe, context.runner.code)
        rounds = [_round(context, question, universe, shadows, seed) for seed in context.seeds]
    except NotApplicableError as reason:
        return nothing(context, str(reason), "not_applicable")
    except RuntimeError as error:
        return nothing(context, str(error), "failed")
    evidence = [row for rows, _ in rounds for row in rows]
    metrics = {name: levels.over_seeds([found[name] for _, found in rounds]) for name in rounds[0][1]}
    return Findings(evidence=evidence, metrics=metrics)


def nothing(context: Context, reason: str, status: Any) -> Findings:
    """What is said where membership cannot be asked."""
    flags = ("CRASHED",) if status == "failed" else ()
    rows = [
        Evidence(
            protocol=NAME, adversary=each.adversary, goal=GOAL, threat=threat(), seed=context.settings.seed,
            status=status, reason=reason, health=flags, settings=dict(each.settings),
        )
        for each in CANDIDATES
    ]  # fmt: skip
    return Findings(
        evidence=rows,
        metrics={
            "membership.advantage": Value.unknown(reason, unit="difference", flags=flags),
            "membership.tpr@0.01": Value.unknown(reason, flags=flags),
        },
    )


def _require(context: Context) -> None:
    publisher = context.prepared.publisher
    if publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    if not learns(publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    if context.threat < "L4":
        raise NotApplicableError("who fits shadow defenses knows the defense, which --threat L4 and above grant")
    if context.budget.shadows < 2:
        raise NotApplicableError("needs shadow defenses (--budget standard or full)")


def _universe(context: Context, question: Question) -> Universe:
    """The attacker's images; online also those in question, which the attacker holds."""
    pool = context.prepared.parts.pool_train
    images, labels = pool.images[:LARGEST_UNIVERSE], pool.labels[context.prepared.parts.task][:LARGEST_UNIVERSE]
    if _online(context):
        images, labels = torch.cat([question.images, images]), torch.cat([question.labels, labels])
    return Universe.drawn(images, labels, context.budget.shadows, context.settings.seed)


def _online(context: Context) -> bool:
    return context.budget.name == "full"


def _round(
    context: Context, question: Question, universe: Universe, shadows: list[Shadow], seed: int
) -> tuple[list[Evidence], dict[str, Value]]:
    """One seed: read everything, attack, choose on the shadows, grade once."""
    world = _read(context, question, universe, shadows, seed, bare=False)
    bare = None
    if context.prepared.target.clean is not None:
        bare = _read(context, question, universe, shadows, seed, bare=True)
    truth = question.member.numpy()
    tried = [Attempt.of(context, candidate, world, bare, truth, seed) for candidate in CANDIDATES]
    ranked = [attempt for attempt in tried if attempt.graded is not None]
    for attempt in ranked:
        _keep_curve(context, attempt, truth, seed)
    best = _choice(ranked)
    flags = set(context.common) | ({"CRASHED"} if any(attempt.failed for attempt in tried) else set())
    flags |= {flag for attempt in ranked if attempt.dishonest for flag in attempt.health}
    evidence = [attempt.evidence(seed, truth, chosen=attempt is best) for attempt in tried]
    if best is None or best.graded is None:
        unknown = Value.unknown("no adversary was measured", flags=tuple(sorted(flags)))
        advantage, rate = unknown.model_copy(update={"unit": "difference"}), unknown
        return evidence, {"membership.advantage": advantage, "membership.tpr@0.01": rate}
    honest = [attempt for attempt in ranked if not attempt.dishonest]
    missed = [rival for rival in honest if rival is not best and rival.beats(best.graded, len(honest))]
    flags |= set(best.health) | ({"SELECTION_MISSED"} if missed else set())
    values = {
        "membership.advantage": [each.graded.advantage for each in (best, *missed) if each.graded is not None],
        "membership.tpr@0.01": [each.rate_at(truth) for each in (best, *missed)],
    }
    said = {"flags": tuple(sorted(flags))}
    metrics = {name: of.model_copy(update={**said, "also": tuple(also)}) for name, (of, *also) in values.items()}
    return evidence, metrics


def _choice(ranked: Sequence[Attempt]) -> Attempt | None:
    """The honest attempt that did best on the shadows; the first of several."""
    honest = [attempt for attempt in ranked if not attempt.dishonest]
    return max(honest, key=lambda each: each.graded.calibrated.advantage if each.graded else -1.0, default=None)


def _keep_curve(context: Context, attempt: Attempt, truth: Any, seed: int) -> None:
    """The curve of one attempt, for people to look at."""
    if attempt.graded is None:
        return
    curves: dict[str, Any] = context.rows
    false, true, _ = roc(attempt.graded.scores, truth)
    name = attempt.candidate.name.replace(" ", "-") + (f"-{seed}" if len(context.seeds) > 1 else "")
    curves[f"roc/{name}/fpr"], curves[f"roc/{name}/tpr"] = false, true


def _read(
    context: Context, question: Question, universe: Universe, shadows: list[Shadow], seed: int, *, bare: bool
) -> MembershipInputs:
    """Readings of all shadows on the universe and on the images in question, and of the real defense on those."""
    prepared = context.prepared
    publisher, place = prepared.publisher, prepared.place
    if publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    sets = {"universe": (universe.images, universe.labels), "candidates": (question.images, question.labels)}
    digests = {}
    for name, (images, labels) in sets.items():
        place.save_beside(f"membership-{name}", {"images": images, "labels": labels})
        digests[name] = tensor_digest(images, labels)

    def order(defense: str, where: Any, name: str, title: str) -> QueuedTask:
        task = ReadTask(defense=defense, images=digests[name], name=f"membership-{name}", bare=bare, seed=seed)
        return QueuedTask(task, where, context.cells, f"{title}, {name}{', target alone' * bare}")

    orders = [order(fingerprint(publisher.defense), place, "candidates", "the defense")]
    for position, shadow in enumerate(shadows):
        where = replace(place, source=shadow.source)
        orders += [order(shadow.digest, where, name, f"shadow {position}") for name in ("universe", "candidates")]
    found = [measured(outcome) for outcome in context.runner.run("reading signals", orders)]
    return MembershipInputs(
        real=found[0].readings,
        shadows=Shadows(
            names=found[0].names,
            universe=[each.readings for each in found[1::2]],
            member=universe.member.numpy(),
            candidates=[each.readings for each in found[2::2]],
            inside=_inside(context, question, universe),
            online=_online(context),
        ),
    )


def _inside(context: Context, question: Question, universe: Universe) -> Any:
    """Which shadow was fitted on which image in question."""
    n = len(question.member)
    if _online(context):
        return universe.member[:, :n].numpy()
    return np.zeros((len(universe.member), n), dtype=bool)
