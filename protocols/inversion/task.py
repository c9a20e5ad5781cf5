"""The task of `inversion`: one adversary rebuilds images, in one arm, with one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part, reordered
from adversaries.goals.reconstruction import ADVERSARIES, ImageScores, assess_images
from protocols.engine.handles import NO_DEFENSE, EvaluationHandle
from protocols.engine.task import Arrays, Outcome
from protocols.evaluation.pairs import PairsTask
from vfc.config import configured
from vfc.errors import NotApplicableError

REPEATS = "repeats"
"""File beside the data: several releases of its first images, (n, m, ...)."""

NO_REPEATS = "two releases of one image are equal, so there is nothing to average"


@dataclass(frozen=True, kw_only=True)
class InversionTask(PairsTask):
    """Rebuild images and grade them.

    Args:
        limits: how many rows of validation and targets are rebuilt; None: all.
    """

    limits: tuple[int, int] | None = None

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Fit, rebuild, grade."""
        adversary = configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary)
        if self.doubled:
            twice = adversary.doubled()
            if twice is None:
                raise NotApplicableError("it does not train by gradient steps")
            adversary = twice
        data = handle.world()
        if adversary.reads_repeats:
            if not self.beside:
                raise NotApplicableError(NO_REPEATS if self.defense else NO_DEFENSE)
            data = first_rows(data, handle.arrays(REPEATS))
        graded = assess_images(
            adversary,
            reordered(data, self.seed),
            self.task,
            self.threat,
            arm=self.arm,
            **self.seeds,
            defense=self.shown(handle),
            limits=self.limits,
        )
        arrays = {**_scores("validation", graded.validation), **_scores("targets", graded.targets)}
        if self.arm == "attack":
            arrays |= {"shown.rows": _array(graded.shown), "shown.images": _array(graded.images)}
            arrays |= {"shown.exposed": _array(graded.exposed), "shown.sure": _array(graded.sure)}
        return Outcome(status="measured", flags=graded.flags, cost=graded.cost.model_dump(), arrays=arrays)


def first_rows(data: EvaluationData, repeats: dict[str, Tensor]) -> EvaluationData:
    """The first rows of every part, with several releases of each in the place of one."""

    def first(name: str) -> Part:
        part: Part = getattr(data, name)
        rows = torch.arange(len(repeats[name]), device=part.release.device)
        return replace(part.take(rows), release=repeats[name])

    return replace(data, train=first("train"), validation=first("validation"), targets=first("targets"))


def _scores(part: str, scores: ImageScores) -> Arrays:
    arrays = {
        f"{part}.psnr": _array(scores.psnr),
        f"{part}.ssim": _array(scores.ssim),
        f"{part}.chance": _array(scores.chance),
        f"{part}.beside": _array(scores.beside),
        f"{part}.majority": np.array([scores.majority]),
    }
    for rule, rank in scores.rank.items():
        arrays |= {f"{part}.rank.{rule}": _array(rank), f"{part}.hit.{rule}": _array(rank == 0)}
    return arrays | {f"{part}.read.{name}": _array(right) for name, right in scores.read.items()}


def _array(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return (values.to(torch.uint8) if values.dtype == torch.bool else values).cpu().numpy()
