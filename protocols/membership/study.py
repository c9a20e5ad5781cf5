"""Conducting `membership`: shadow defenses, one choice and one threshold on them, one grading on the real defense.

Axes: n members and n non-members, s shadow defenses, u images of their universe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adversaries.evidence import Evidence, Value
from adversaries.goals.membership import Shadows, roc
from adversaries.statistics import levels
from protocols.engine.shadows import Shadow, Universe, fitted_shadows, learns
from protocols.engine.task_runner import Order
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Findings, Study
from protocols.evasion.tasks import fingerprint
from protocols.membership.attempt import GOAL, NAME, Attempt, World, threat
from protocols.membership.tasks import ReadTask, measured
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest
from vfc.seeding import derive_seed

MOST, LARGEST_UNIVERSE = 2000, 4000
"""Members (and non-members) graded, and images that shadows are drawn from, at most."""

CANDIDATES = (
    Candidate(adversary="loss-threshold"),
    *(Candidate(adversary="lira", settings={"signal": signal}) for signal in ("confidence", "kl", "change", "norm")),
    Candidate(adversary="shadow-classifier"),
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Whose membership is asked.

    Args:
        images, labels: members and non-members, mixed.
        member: who is one; never shown to an adversary.
    """

    images: Tensor
    labels: Tensor
    member: Tensor

    @classmethod
    def of(cls, study: Study) -> Question:
        """As many members as non-members, from one random draw."""
        parts = study.prepared.parts
        inside, outside = parts.defender_train, parts.targets
        n = min(len(inside), len(outside), MOST)
        generator = torch.Generator().manual_seed(derive_seed("membership draw", study.settings.seed))
        chosen = [torch.randperm(len(group), generator=generator)[:n] for group in (inside, outside)]
        images = torch.cat([group.images[rows] for group, rows in zip((inside, outside), chosen, strict=True)])
        labels = torch.cat(
            [group.labels[parts.task][rows] for group, rows in zip((inside, outside), chosen, strict=True)]
        )
        mixed = torch.randperm(2 * n, generator=generator)
        return cls(images=images[mixed], labels=labels[mixed], member=(torch.arange(2 * n) < n)[mixed])


def conduct_membership(study: Study) -> Findings:
    """Ask of members and non-members who is who."""
    try:
        _require(study)
        question = Question.of(study)
        universe = _universe(study, question)
        shadows = fitted_shadows(study, universe)
        rounds = [_round(study, question, universe, shadows, seed) for seed in study.seeds]
    except NotApplicableError as reason:
        return nothing(study, str(reason), "not_applicable")
    except RuntimeError as error:
        return nothing(study, str(error), "failed")
    evidence = [row for rows, _ in rounds for row in rows]
    metrics = {name: levels.over_seeds([found[name] for _, found in rounds]) for name in rounds[0][1]}
    return Findings(evidence=evidence, metrics=metrics)


def nothing(study: Study, reason: str, status: Any) -> Findings:
    """What is said where membership cannot be asked."""
    flags = ("CRASHED",) if status == "failed" else ()
    rows = [
        Evidence(
            protocol=NAME, adversary=each.adversary, goal=GOAL, threat=threat(), seed=study.settings.seed,
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


def _require(study: Study) -> None:
    publisher = study.prepared.publisher
    if publisher is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    if not learns(publisher.defense):
        raise NotApplicableError("the defense fits nothing, so it has no members")
    if study.threat < "L4":
        raise NotApplicableError("who fits shadow defenses knows the defense, which --threat L4 and above grant")
    if study.budget.shadows < 2:
        raise NotApplicableError("needs shadow defenses (--budget standard or full)")


def _universe(study: Study, question: Question) -> Universe:
    """The attacker's images; online also those in question, which the attacker holds."""
    pool = study.prepared.parts.pool_train
    images, labels = pool.images[:LARGEST_UNIVERSE], pool.labels[study.prepared.parts.task][:LARGEST_UNIVERSE]
    if _online(study):
        images, labels = torch.cat([question.images, images]), torch.cat([question.labels, labels])
    return Universe.drawn(images, labels, study.budget.shadows, study.settings.seed)


def _online(study: Study) -> bool:
    return study.budget.name == "full"


def _round(
    study: Study, question: Question, universe: Universe, shadows: list[Shadow], seed: int
) -> tuple[list[Evidence], dict[str, Value]]:
    """One seed: read everything, attack, choose on the shadows, grade once."""
    world = _read(study, question, universe, shadows, seed, bare=False)
    bare = None
    if study.prepared.target.clean is not None:
        bare = _read(study, question, universe, shadows, seed, bare=True)
    truth = question.member.numpy()
    tried = [Attempt.of(study, candidate, world, bare, truth, seed) for candidate in CANDIDATES]
    ranked = [attempt for attempt in tried if attempt.graded is not None]
    for attempt in ranked:
        _keep_curve(study, attempt, truth, seed)
    best = _choice(ranked)
    flags = set(study.common) | ({"CRASHED"} if any(attempt.failed for attempt in tried) else set())
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


def _keep_curve(study: Study, attempt: Attempt, truth: Any, seed: int) -> None:
    """The curve of one attempt, for people to look at."""
    if attempt.graded is None:
        return
    curves: dict[str, Any] = study.rows
    false, true, _ = roc(attempt.graded.scores, truth)
    name = attempt.candidate.name.replace(" ", "-") + (f"-{seed}" if len(study.seeds) > 1 else "")
    curves[f"roc/{name}/fpr"], curves[f"roc/{name}/tpr"] = false, true


def _read(
    study: Study, question: Question, universe: Universe, shadows: list[Shadow], seed: int, *, bare: bool
) -> World:
    """Readings of all shadows on the universe and on the images in question, and of the real defense on those."""
    prepared = study.prepared
    publisher, place = prepared.publisher, prepared.place
    if publisher is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    sets = {"universe": (universe.images, universe.labels), "candidates": (question.images, question.labels)}
    digests = {}
    for name, (images, labels) in sets.items():
        place.save_beside(f"membership-{name}", {"images": images, "labels": labels})
        digests[name] = tensor_digest(images, labels)

    def order(defense: str, where: Any, name: str, title: str) -> Order:
        task = ReadTask(defense=defense, images=digests[name], name=f"membership-{name}", bare=bare, seed=seed)
        return Order(task, where, study.cells, f"{title}, {name}{', target alone' * bare}")

    orders = [order(fingerprint(publisher.defense), place, "candidates", "the defense")]
    for position, shadow in enumerate(shadows):
        where = replace(place, source=shadow.source)
        orders += [order(shadow.digest, where, name, f"shadow {position}") for name in ("universe", "candidates")]
    found = [measured(outcome) for outcome in study.bench.do("reading signals", orders)]
    return World(
        real=found[0].readings,
        shadows=Shadows(
            names=found[0].names,
            universe=[each.readings for each in found[1::2]],
            member=universe.member.numpy(),
            candidates=[each.readings for each in found[2::2]],
            inside=_inside(study, question, universe),
            online=_online(study),
        ),
    )


def _inside(study: Study, question: Question, universe: Universe) -> Any:
    """Which shadow was fitted on which image in question."""
    n = len(question.member)
    if _online(study):
        return universe.member[:, :n].numpy()
    return np.zeros((len(universe.member), n), dtype=bool)
