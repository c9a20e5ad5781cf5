"""Conducting `inversion`: who rebuilds images, how many targets each can afford, and what stands beside the results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from adversaries.evaluation_data import Part
from adversaries.evidence import Value
from adversaries.goals.gallery import GALLERY, RULES, alike_rows
from adversaries.goals.image_metrics import psnr, ssim
from adversaries.goals.reconstruction import ADVERSARIES, Reconstructor
from protocols.engine.handles import WORLD_PARTS
from protocols.engine.prepared import Prepared
from protocols.engine.task_runner import QueuedTask
from protocols.evaluation.candidate import Candidate, calibrated
from protocols.evaluation.context import Context, Findings
from protocols.evaluation.cross_protocol import from_scores
from protocols.evaluation.overrides import with_overrides
from protocols.evaluation.paired_campaign import PairedCampaign, paired_order
from protocols.evaluation.paired_findings import PairedFindings, anchor
from protocols.evaluation.paired_tasks import REPEATS, InversionTask
from protocols.evaluation.score_board import Aspect, Attempt, Contestant, ScoreBoard, Spot
from protocols.inversion.candidates import rebuilders
from protocols.mask_aware.study import digest_of_defense
from vfc.release import tensor_digest

NAME = "inversion"
PAIRS: dict[str, tuple[int | str, ...]] = {"smoke": (100, "all"), "standard": (100, 1000, "all")}
"""Numbers of pairs by budget; `full` is as `standard`."""

LIMITS = {"smoke": (32, 100), "standard": (64, 256), "full": (128, 1000)}
"""How many rows of validation and targets are rebuilt by adversaries that optimize for each of them."""

FEWER = {"standard": (16, 100), "full": (64, 256)}
"""The same for those that train a network for each."""

ROWS = {"train": 2000, "validation": 500, "targets": 1000}
"""Several releases are published of so many images of every part, at most."""

SPENT: dict[str, dict[str, dict[str, Any]]] = {
    "smoke": {"decoder": {"steps": 100}, "gradient-inversion": {"steps": 60}},
    "standard": {"gradient-inversion": {"steps": 100}, "deep-prior": {"steps": 120}},
    "full": {"gradient-inversion": {"steps": 400, "restarts": 4}, "deep-prior": {"steps": 1000}},
}
REPEATED = {"smoke": 8, "standard": 16, "full": 32}
DRAWS = 4
"""Releases whose mean is matched at every step, for a defense whose releases differ."""


def aspects_of(readers: Sequence[str], task: str) -> tuple[Aspect, ...]:
    """How reconstructions are measured; the last needs clean models to read them."""
    measured = (
        Aspect(name="inversion.psnr", goal="reconstruction:psnr", array="psnr", unit="dB", hits=False, margin=0.5),
        Aspect(name="inversion.ssim", goal="reconstruction:ssim", array="ssim", unit="ssim", hits=False),
        Aspect(
            name="inversion.identification",
            goal="reconstruction:identification",
            array="hit",
            variants=RULES,
        ),
    )
    return (*measured, reader_aspect(readers, task))


def reader_aspect(readers: Sequence[str], task: str) -> Aspect:
    """A clean unintended model reads the task label off the reconstruction."""
    return Aspect(name="inversion.reader_accuracy", goal=f"task:{task}", array="read", variants=tuple(readers) or ("",))


def conduct_inversion(context: Context) -> Findings:
    """Attack, choose for every aspect, and report."""
    prepared = context.prepared
    task = prepared.parts.task
    readers = [name for name in prepared.models if prepared.families is None or name != prepared.families.twin]
    aspects = aspects_of(readers, task)
    planar = prepared.world.train.release.ndim == 4
    competing = rebuilders(context.budget.name, planar=planar)
    candidates = [each for each in competing if _kind(each).level in context.levels]
    kinds = [_kind(each) for each in candidates]
    candidates = [_spending(context, each) for each in candidates]
    board = ScoreBoard(
        candidates=candidates,
        levels=[kind.level for kind in kinds],
        seeds=context.seeds,
        grid=PAIRS.get(context.budget.name, PAIRS["standard"]),
        blind=frozenset(i for i, kind in enumerate(kinds) if kind.blind),
        common=context.common,
        floors=_floors(prepared),
        trained=frozenset(i for i, each in enumerate(candidates) if _trains(each)),
        calibrated=calibrated(candidates, n=len(prepared.world.targets), dataset=prepared.dataset.name),
    )
    known = _knowledge(context)
    campaign = PairedCampaign(
        board=board,
        aspects=aspects,
        kinds=kinds,
        budget=context.budget,
        runner=context.runner,
        order=lambda spot: _order(context, board, kinds, spot, *known),
    )
    campaign.run("rebuilding images")
    beside = _anchors(prepared, board, aspects)
    findings = PairedFindings(board=board, protocol=NAME, sidecar=context.rows, beside=beside)
    metrics = {aspect.name: findings.metric(aspect) for aspect in aspects}
    if not readers:
        reason = "there is no clean model to read reconstructions"
        metrics["inversion.reader_accuracy"] = Value.unknown(reason)
    evidence = [row for aspect in aspects for row in findings.evidence(aspect, absent=aspect is aspects[0])]
    _show(context, board, aspects[0])
    rivals = from_scores(board, aspects[-1])
    return Findings(evidence=evidence, metrics=metrics, rivals=rivals)


def _kind(candidate: Candidate) -> type[Reconstructor]:
    return ADVERSARIES.get(candidate.adversary)


def _trains(candidate: Candidate) -> bool:
    return _kind(candidate)(**candidate.settings).doubled() is not None


def _spending(context: Context, candidate: Candidate) -> Candidate:
    """The candidate with the user's options, and where there are none with what the budget spends."""
    chosen = with_overrides(candidate, context.settings)
    spent = dict(SPENT[context.budget.name].get(candidate.adversary, {}))
    if candidate.adversary in ("gradient-inversion", "deep-prior") and context.prepared.observed.stochastic:
        spent["draws"] = DRAWS
    return Candidate(adversary=chosen.adversary, settings={**spent, **chosen.settings})


def _order(
    context: Context, board: ScoreBoard, kinds: Sequence[type[Reconstructor]], spot: Spot, defense: str, repeats: str
) -> QueuedTask:
    candidate, kind = board.candidates[spot.attempt.candidate], kinds[spot.attempt.candidate]
    limits = LIMITS[context.budget.name] if kind.per_target else None
    if candidate.adversary == "deep-prior":
        limits = FEWER.get(context.budget.name, limits)
    beside = repeats if kind.reads_repeats else ""
    return paired_order(InversionTask, context, candidate, kind.level, spot, defense, beside=beside, limits=limits)


def _knowledge(context: Context) -> tuple[str, str]:
    """Digests of the defense and of several releases of the first images, which are published here if they differ."""
    prepared = context.prepared
    if prepared.publisher is None or context.threat < "L4":
        return "", ""
    defense = digest_of_defense(context)
    if not prepared.observed.stochastic:
        return defense, ""
    repeats = {}
    for name, images in zip(
        WORLD_PARTS, (prepared.parts.pool_train, prepared.parts.pool_validation, prepared.parts.targets), strict=True
    ):
        some = images.images[: ROWS[name]]
        drawn = [
            prepared.publisher.publish(some, f"repeat {name} {turn}") for turn in range(REPEATED[context.budget.name])
        ]
        repeats[name] = torch.stack(drawn, dim=1)
    prepared.place.save_beside(REPEATS, repeats)
    return defense, tensor_digest(*repeats.values())


def _floors(prepared: Prepared) -> dict[str, Any]:
    """The floors that no guesser of images gives: a random member of the gallery, and the most frequent label."""
    targets, task = prepared.world.targets, prepared.parts.task
    majority = int(torch.bincount(prepared.world.train.labels[task]).argmax())
    read = (targets.labels[task] == majority).double().numpy()
    return {"hit": chance_of(targets), "read": read}


def chance_of(targets: Part) -> Any:
    """Per target of the gallery, the rate at which a random member with the same prediction is the right one."""
    return (1 / alike_rows(min(GALLERY, len(targets)), targets.prediction).sum(1)).double().numpy()


def _anchors(prepared: Prepared, board: ScoreBoard, aspects: Sequence[Aspect]) -> dict[str, dict[str, Value]]:
    """What PSNR, SSIM and identification would be for the image itself, another one, and the mean images."""
    images = prepared.world.targets.images
    if images is None or len(images) < 2:
        return {}
    other = images.roll(1, dims=0)
    found: dict[str, dict[str, Value]] = {}
    for aspect, measure in zip(aspects, (psnr, ssim), strict=False):
        found[aspect.goal] = {
            "anchor.image": anchor(measure(images, images).double().numpy(), aspect),
            "anchor.other_image": anchor(measure(other, images).double().numpy(), aspect),
        }
    for position in sorted(board.blind):
        settings = board.candidates[position].settings
        if settings.get("aim") != "mean":
            continue
        name = "anchor.class_mean_image" if settings["by_prediction"] else "anchor.mean_image"
        if settings["by_prediction"] and prepared.world.targets.prediction is None:
            continue
        for aspect in aspects[:2]:
            rows = board.rows(aspect, Contestant(Attempt(position, None)))
            if rows:
                found[aspect.goal][name] = board.value(aspect, rows)
    return found


def _show(context: Context, board: ScoreBoard, aspect: Aspect) -> None:
    """The worst leaks of the chosen reconstruction, for people to look at."""
    chosen = board.choose(aspect, board.contestants(aspect, board.tried()))
    targets = context.prepared.world.targets
    if chosen is None or targets.images is None:
        return
    arrays = board.outcomes[Spot(chosen.attempt, "attack", context.seeds[0])].arrays
    picked = np.asarray(arrays["shown.rows"])
    rows = context.rows
    rows["gallery/original"] = targets.images[torch.from_numpy(picked)].numpy()
    rows["gallery/reconstruction"] = np.asarray(arrays["shown.images"])
    rows["gallery/psnr"], rows["gallery/ssim"] = (arrays[f"targets.{name}"][picked] for name in ("psnr", "ssim"))
    rows["gallery/rank"] = (
        np.minimum(*(arrays[f"targets.rank.{rule}"] for rule in ("nearest", "direction")))[picked] + 1
    )
    shape = targets.release.shape[1:]
    if len(shape) == 3 and shape[0] in (1, 3):
        values = targets.release[torch.from_numpy(picked)].double().nan_to_num(posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        rows["gallery/release"] = ((values - low) / max(high - low, 1e-12)).float().numpy()
