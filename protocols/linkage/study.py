"""Conducting `linkage`: releases against images, and against other releases of the same images where those differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import get_args

import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData
from adversaries.evidence import Evidence, Value
from adversaries.goals.gallery import match_rate
from adversaries.goals.matching import ADVERSARIES, RULES, Matcher
from adversaries.threat import parse_level
from protocols.engine.handles import NO_DEFENSE
from protocols.engine.publishing.publisher import Publisher
from protocols.engine.publishing.world import shared_images
from protocols.evaluation.candidate import Candidate, collect
from protocols.evaluation.context import Context
from protocols.evaluation.evidence import threat_of, unmeasured
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.pairs import PairsEvaluation, pairs_statistic
from protocols.evaluation.protocol import Findings
from protocols.evaluation.results import Competitor
from protocols.evaluation.statistic import Statistic
from protocols.linkage.task import AGAIN, Gallery, LinkageTask
from vfc.defense import FitData
from vfc.errors import NotApplicableError
from vfc.isolation.user_code import defender_call
from vfc.release import tensor_digest
from vfc.seeding import derive_seed

NAME = "linkage"
GALLERIES: tuple[Gallery, ...] = get_args(Gallery)
DRAWS = 32
"""Releases of every gallery image that are averaged, for a defense whose releases differ."""

EQUAL = "two releases of one image are equal: the defense is neither random nor keyed"


RELEASES_ONLY = ("matcher", "raw")
"""The matcher that compares releases as they are, and so cannot compare one with an image."""


def matchers(kind: str = "release") -> tuple[Candidate, ...]:
    """Every adversary that matches releases with images, or with releases."""
    if kind == "release":
        return collect("match:release")
    found = collect("match:image")
    return tuple(each for each in found if (each.adversary, each.settings.get("form")) != RELEASES_ONLY)


def all_matchers() -> tuple[Candidate, ...]:
    """Adversaries of both kinds, each once."""
    releases = matchers("release")
    return (*releases, *(each for each in matchers("image") if each not in releases))


def statistic_of(kind: Gallery, data: EvaluationData) -> Statistic:
    """How matches are measured."""
    floor = match_rate(len(data.targets), data.targets.prediction).numpy()
    return pairs_statistic(f"linkage.{kind}.top1", f"match:{kind}", "hit", variants=RULES, floor=floor)


def conduct_linkage(context: Context) -> Findings:
    """Match releases with images, then releases with releases."""
    evidence: list[Evidence] = []
    metrics: dict[str, Value] = {}
    for kind in GALLERIES:
        statistic = statistic_of(kind, context.prepared.world)
        allowed = [each for each in matchers(kind) if _kind(each).level in context.levels]
        competing = [_competitor(_drawing(context, each), _kind(each)) for each in allowed]
        try:
            again = _publish_again(context) if kind == "release" else ""
        except NotApplicableError as reason:
            metrics[statistic.name] = Value.unknown(str(reason))
            evidence += _not_applicable(context, kind, statistic.goal, str(reason))
            continue
        evaluation = PairsEvaluation.of(context, NAME, competing, [statistic], _task(kind, again))
        evaluation.run(f"matching releases with {kind}s")
        evidence += evaluation.evidence({})
        metrics[statistic.name] = evaluation.metric(evaluation.boards[0])
    return Findings(evidence=evidence, metrics=metrics)


def _kind(candidate: Candidate) -> type[Matcher]:
    return ADVERSARIES.get(candidate.adversary)


def _task(kind: Gallery, again: str) -> Callable[[Candidate], Callable[..., LinkageTask]]:
    """What makes the tasks of every candidate: with the digest of one more release of each image."""
    return lambda _candidate: partial(LinkageTask, beside=again, kind=kind)


def _competitor(candidate: Candidate, kind: type[Matcher]) -> Competitor:
    return Competitor(candidate=candidate, level=parse_level(kind.level), grows=kind.learns_pairs)


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
    again = publisher.together(shared_images(prepared.parts), "again").values
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
        attributes=_on(device, parts.defender_train.attributes(parts.task)),
        validation_attributes=_on(device, parts.defender_validation.attributes(parts.task)),
    )
    generator = torch.Generator().manual_seed(derive_seed("another key", context.settings.seed))
    fitted = defender_call(defense, lambda: defense.fit(data, generator), limit="fit")
    return replace(publisher, defense=fitted)


def _on(device: str, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values.to(device) for name, values in labels.items()}


def _not_applicable(context: Context, kind: Gallery, goal: str, reason: str) -> list[Evidence]:
    seed = context.settings.seed
    levels = [(candidate, _kind(candidate).level) for candidate in matchers(kind)]
    return [
        unmeasured(NAME, candidate, goal, threat_of(level), seed, "not_applicable", reason)
        for candidate, level in levels
        if level in context.levels
    ]
