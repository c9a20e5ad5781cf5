"""Conducting `linkage`: releases against images, and against other releases of the same images where those differ."""

from __future__ import annotations

from dataclasses import replace

import torch

from adversaries.evidence import Evidence, Threat, Value
from adversaries.goals.matching import ADVERSARIES, RULES, Matcher
from adversaries.threat import Grant, grants
from protocols.engine.handles import WORLD_PARTS
from protocols.engine.publish import Publisher
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context, Findings
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.paired_campaign import PairedCampaign, paired_order
from protocols.evaluation.paired_findings import PairedFindings
from protocols.evaluation.paired_tasks import AGAIN, NO_DEFENSE, LinkageTask
from protocols.evaluation.score_board import Aspect, ScoreBoard, Spot
from protocols.inversion.study import PAIRS, chance_of
from protocols.linkage.candidates import matchers
from protocols.mask_aware.study import digest_of_defense
from vfc.defense import FitData
from vfc.errors import NotApplicableError
from vfc.release import tensor_digest
from vfc.seeding import derive_seed

NAME = "linkage"
DRAWS = 32
"""Releases of every gallery image that are averaged, for a defense whose releases differ."""

EQUAL = "two releases of one image are equal: the defense is neither random nor keyed"


def aspect_of(kind: str) -> Aspect:
    """How matches are measured."""
    return Aspect(name=f"linkage.{kind}.top1", goal=f"match:{kind}", array="hit", variants=RULES)


def conduct_linkage(context: Context) -> Findings:
    """Match releases with images, then releases with releases."""
    evidence: list[Evidence] = []
    metrics: dict[str, Value] = {}
    for kind in ("image", "release"):
        try:
            again = _publish_again(context) if kind == "release" else ""
        except NotApplicableError as reason:
            metrics[aspect_of(kind).name] = Value.unknown(str(reason))
            evidence += _not_applicable(context, kind, str(reason))
            continue
        found = _conduct(context, kind, again)
        evidence += found.evidence
        metrics |= found.metrics
    return Findings(evidence=evidence, metrics=metrics)


def _conduct(context: Context, kind: str, again: str) -> Findings:
    """All tasks of one kind of gallery."""
    prepared, aspect = context.prepared, aspect_of(kind)
    candidates = [each for each in matchers(kind) if _kind(each).level in context.levels]
    kinds = [_kind(each) for each in candidates]
    board = ScoreBoard(
        candidates=[_drawing(context, each) for each in candidates],
        levels=[matcher.level for matcher in kinds],
        seeds=context.seeds,
        grid=PAIRS.get(context.budget.name, PAIRS["standard"]),
        common=context.common,
        floors={"hit": chance_of(prepared.world.targets)},
    )
    white = context.threat >= "L4" and prepared.publisher is not None
    defense = digest_of_defense(context) if white else ""

    def order(spot: Spot) -> QueuedTask:
        candidate, matcher = board.candidates[spot.attempt.candidate], kinds[spot.attempt.candidate]
        return paired_order(LinkageTask, context, candidate, matcher.level, spot, defense, beside=again, kind=kind)

    campaign = PairedCampaign(
        board=board, aspects=[aspect], kinds=kinds, budget=context.budget, runner=context.runner, order=order
    )
    campaign.run(f"matching releases with {kind}s")
    findings = PairedFindings(board=board, protocol=NAME, sidecar=context.rows, beside={})
    return Findings(evidence=findings.evidence(aspect, absent=True), metrics={aspect.name: findings.metric(aspect)})


def _kind(candidate: Candidate) -> type[Matcher]:
    return ADVERSARIES.get(candidate.adversary)


def _drawing(context: Context, candidate: Candidate) -> Candidate:
    """The candidate with the user's options, and several draws for a defense whose releases differ."""
    chosen = with_overrides(candidate, context.settings)
    random = candidate.adversary == "replay" and context.prepared.observed.stochastic
    return Candidate(adversary=chosen.adversary, settings={**({"draws": DRAWS} if random else {}), **chosen.settings})


def _publish_again(context: Context) -> str:
    """One more release of every image, under another key if the defense has one; its digest.

    Raises:
        NotApplicableError: it would be the same release.
    """
    prepared = context.prepared
    publisher = prepared.publisher
    if publisher is None:
        raise NotApplicableError(NO_DEFENSE)
    if not (prepared.observed.stochastic or publisher.defense.keyed):
        raise NotApplicableError(EQUAL)
    if publisher.defense.keyed:
        publisher = _rekeyed(context, publisher)
    parts = prepared.parts
    again = {
        name: publisher.publish(images.images, f"again {name}")
        for name, images in zip(WORLD_PARTS, (parts.pool_train, parts.pool_validation, parts.targets), strict=True)
    }
    prepared.place.save_beside(AGAIN, again)
    return tensor_digest(*again.values())


def _rekeyed(context: Context, publisher: Publisher) -> Publisher:
    """The same defense, fitted again with another key."""
    prepared, defense = context.prepared, publisher.defense
    parts, device = prepared.parts, publisher.device
    if defense.target is None:
        raise NotApplicableError("the defense has no target, so it cannot be fitted again with another key")
    data = FitData(
        images=parts.defender_train.images.to(device),
        labels=parts.defender_train.labels[parts.task].to(device),
        validation_images=parts.defender_validation.images.to(device),
        validation_labels=parts.defender_validation.labels[parts.task].to(device),
        num_classes=publisher.classes,
        target=defense.target,
    )
    generator = torch.Generator().manual_seed(derive_seed("another key", context.settings.seed))
    return replace(publisher, defense=defense.fit(data, generator))


def _not_applicable(context: Context, kind: str, reason: str) -> list[Evidence]:
    rows = []
    for candidate in matchers(kind):
        level = _kind(candidate).level
        if level not in context.levels:
            continue
        known = tuple(k.name.lower() for k in Grant if k in grants(level) and k.name)
        rows.append(
            Evidence(
                protocol=NAME,
                adversary=candidate.adversary,
                goal=aspect_of(kind).goal,
                threat=Threat(level=level, knows=known),
                seed=context.settings.seed,
                status="not_applicable",
                reason=reason,
                settings=dict(candidate.settings),
            )
        )
    return rows
