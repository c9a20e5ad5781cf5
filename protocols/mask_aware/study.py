"""Conducting `mask-aware`: those who know the mask against those who do not, what it hides, and whether it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adversaries.attacks.mask.opened_latent import open_latent
from adversaries.evidence import Evidence, Value
from adversaries.goals.label import TaskLabel
from adversaries.statistics import estimates
from protocols.engine.identity import fingerprint
from protocols.engine.settings import Settings
from protocols.engine.trial import Cell
from protocols.evaluation.board import Board, Entry
from protocols.evaluation.campaign import Campaign
from protocols.evaluation.candidate import Candidate
from protocols.evaluation.context import Context, Findings
from protocols.evaluation.cross_protocol import from_board
from protocols.evaluation.label_evidence import evidence_of
from protocols.evaluation.label_metrics import LabelMetrics
from protocols.mask_aware.findings import NAME, recovered, white_box
from protocols.mask_aware.lift import PROBES, Lift
from protocols.mask_aware.tasks import BITS, MaskCell
from protocols.task_label.ladder import board_of, models_of
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed


def aware(models: Sequence[str], twin: str | None, options: Mapping[str, Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Those who know the mask; `options` are the user's, by probe."""
    latents = [
        Candidate(
            adversary="mask-latent",
            settings={"recovery": way, "probe": probe, **({"options": options[probe]} if options.get(probe) else {})},
        )
        for way, probe in (("learned", "linear"), ("learned", "mlp"), ("optimized", "mlp"))
    ]
    return (*latents, *(Candidate(adversary="mask-replay", settings={"model": m}) for m in models if m != twin))


def agnostic(models: Sequence[str], twin: str | None) -> tuple[Candidate, ...]:
    """Those who do not know it, with the same labelled releases and the same kinds of readers."""
    probes = [Candidate(adversary=probe) for probe in (*PROBES, "cnn")]
    return (
        *probes,
        *(Candidate(adversary="fine-tune", settings={"model": m, "scope": "all"}) for m in models if m != twin),
    )


def conduct_masks(context: Context) -> Findings:
    """Everything about the mask."""
    prepared = context.prepared
    goal = TaskLabel(label=prepared.parts.task)
    try:
        if context.threat < "L4":
            raise NotApplicableError("the mask is known from --threat L4 on")
        defense = digest_of_defense(context)
        per_image = _save_bits(context)
    except NotApplicableError as reason:
        return nothing(str(reason), goal.name, context.settings.seed)
    context = replace(context, budget=replace(context.budget, labels=context.budget.labels[-1:], transforms="none"))
    models, twin = models_of(context)
    if context.budget.name == "smoke":
        # Retraining is what takes long, with the mask and without it.
        models = [model for model in models if model != twin][:1]
    options = {probe: context.settings.options(probe) for probe in PROBES}
    knowing = board_of(context, goal, aware(models, twin, options))
    ignorant = board_of(context, goal, agnostic(models, twin))
    _campaign(Campaign, context, ignorant, goal.name).run(["L2"])
    _campaign(MaskCampaign, context, knowing, goal.name, defense=defense).run(["L4"])
    evidence = [
        row
        for board, levels in ((knowing, ["L4"]), (ignorant, ["L2"]))
        for row in evidence_of(board, NAME, goal.name, board.choices(levels), context.rows)
    ]
    seen = recovered(context, defense)
    lifts = Lift(context=context, defense=defense, per_image=per_image).evidence()
    metrics = {"mask.gain": gain(context, knowing, ignorant), "mask.recovery": seen.metric}
    return Findings(evidence=[*evidence, *seen.evidence, *lifts], metrics=metrics, rivals=from_board(knowing))


def gain(context: Context, knowing: Board, ignorant: Board) -> Value:
    """Accuracy of the best who knows the mask - that of the best who does not, on the same targets."""
    numbers = LabelMetrics(board=knowing, target=context.prepared.target, per_class=0.0, rows=context.rows)
    rivals = ignorant.attempts(ignorant.grid[-1], levels=["L2"])
    other = ignorant.choose(rivals)
    if other is None:
        return Value.unknown("nobody without the mask was measured", unit="difference")

    def measure(rows: Any, seed: int) -> Value:
        theirs = ignorant.rows(other, "attack", seed)
        if theirs is None:  # `choose` only returns attempts with all seeds
            return Value.unknown("nobody without the mask was measured", unit="difference")
        return estimates.difference(rows, theirs)

    found = numbers.best(knowing.attempts(knowing.grid[-1], levels=["L4"]), measure)
    doubts = set(ignorant.doubts(other)) | ({"SELECTION_MISSED"} if ignorant.missed(other, rivals) else set())
    return found.model_copy(update={"flags": tuple(sorted({*found.flags, *doubts}))})


@dataclass(kw_only=True)
class MaskCampaign(Campaign):
    """A campaign of adversaries who know the defense; on the images they are the readers without that knowledge.

    Args:
        defense: digest of the fitted defense.
        settings: the run's, for the options of those readers.
    """

    defense: str
    settings: Settings

    def _cell(self, entry: Entry) -> Cell:
        cell = super()._cell(entry)
        if entry.arm != "ceiling":
            fields = {name: getattr(cell, name) for name in Cell.__dataclass_fields__}
            return MaskCell(**fields, defense=self.defense)
        if cell.adversary == "mask-replay":
            reader, own = "fine-tune", {"model": cell.settings["model"], "scope": "all"}
        else:
            reader, own = str(cell.settings["probe"]), {}
        return replace(cell, adversary=reader, settings={**own, **self.settings.options(reader)}, level="L2")


def _campaign(kind: type[Campaign], context: Context, board: Board, goal: str, **more: Any) -> Campaign:
    prepared = context.prepared
    if kind is MaskCampaign:
        more["settings"] = context.settings
    return kind(
        board=board,
        goal=goal,
        place=prepared.place,
        undefended=None,
        digests=prepared.digests,
        budget=context.budget,
        cells=context.cells,
        ceilings=context.shared,
        runner=context.runner,
        **more,
    )


def nothing(reason: str, goal: str, seed: int) -> Findings:
    """What is said of a release without a mask, or without a defense to ask."""
    rows = [
        Evidence(
            protocol=NAME, adversary=name, goal=goal, threat=white_box(), seed=seed,
            status="not_applicable", reason=reason,
        )
        for name in ("mask-latent", "mask-replay")
    ]  # fmt: skip
    metrics = {
        "mask.gain": Value.unknown(reason, unit="difference"),
        "mask.recovery": Value.unknown(reason),
    }
    return Findings(evidence=rows, metrics=metrics)


def digest_of_defense(context: Context) -> str:
    """Content hash of the fitted defense.

    Raises:
        NotApplicableError: only releases were given.
    """
    return fingerprint(_defense(context))


def _defense(context: Context) -> Defense:
    if context.prepared.publisher is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    return context.prepared.publisher.defense


@torch.no_grad()
def _save_bits(context: Context) -> bool:
    """Write the mask of every image beside the world, and some for people into the sidecar; whether they differ.

    Masks are taken from publishing again with the same randomness, because some defenses draw them.
    """
    prepared, device = context.prepared, context.prepared.place.device
    publisher = prepared.publisher
    if publisher is None:
        raise NotApplicableError("only releases were given, and no defense to ask")
    latent = open_latent(publisher.defense, prepared.parts.pool_train.images.to(device))
    bits = {}
    for name, images in (
        ("train", prepared.parts.pool_train),
        ("validation", prepared.parts.pool_validation),
        ("targets", prepared.parts.targets),
    ):
        generator = torch.Generator().manual_seed(derive_seed("publish", name, publisher.seed))
        bits[name] = latent.published(images.images.to(device), generator)[1].cpu().contiguous()
    prepared.place.save_beside(BITS, {name: kept.to(torch.uint8) for name, kept in bits.items()})
    shown = bits["targets"]
    context.rows["mask/bits"] = (shown[:16] if latent.per_image else shown[0]).numpy().astype(np.uint8)
    return latent.per_image
