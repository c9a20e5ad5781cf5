"""Units of work of `inversion` and `linkage`: one adversary that learns from pairs, in one arm, with one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.matching import ADVERSARIES as MATCHERS
from adversaries.goals.matching import Matches, assess_matching
from adversaries.goals.reconstruction import ADVERSARIES as RECONSTRUCTORS
from adversaries.goals.reconstruction import ImageScores, assess_images
from adversaries.threat import ThreatModel
from protocols.engine.handles import EvaluationHandle, reordered
from protocols.engine.trial import Arrays, Outcome, Task
from vfc.config import configured
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

REPEATS, AGAIN = "repeats", "again"
"""Files beside the world: several releases of its first images (n, m, ...), and one more release of each (n, ...)."""

NO_REPEATS = "two releases of one image are equal, so there is nothing to average"
NO_DEFENSE = "only releases were given, and no defense to ask"


@dataclass(frozen=True, kw_only=True)
class PairedTask(Task):
    """What both kinds have in common.

    Args:
        adversary: registered name.
        settings: its options.
        level: threat level of this adversary.
        pairs: granted pairs.
        arm: attack, ceiling or shuffled.
        seed: attack seed.
        doubled: fit with twice the training.
        task: the label that the target predicts.
        world: digest of the world that is attacked.
        defense: digest of the fitted defense; empty for adversaries that do not know it.
        beside: digest of the further releases that are read; empty without.
    """

    adversary: str
    settings: dict[str, Any]
    level: str
    pairs: int | str
    arm: str
    seed: int
    doubled: bool
    task: str
    world: str
    defense: str = ""
    beside: str = ""

    def _threat(self) -> ThreatModel:
        return ThreatModel(level=self.level, pairs=self.pairs)  # type: ignore[arg-type]

    def _defense(self, place: EvaluationHandle) -> Defense | None:
        return place.defense() if self.level >= "L4" else None

    def _seeds(self) -> dict[str, int]:
        # The same draw in every arm: on the identity release attack and ceiling are one and the same.
        drawn_from = (self.adversary, sorted((k, str(v)) for k, v in self.settings.items()), self.pairs, self.seed)
        return {"seed": derive_seed("mispaired", self.seed), "fit_seed": derive_seed("fit", *drawn_from)}


@dataclass(frozen=True, kw_only=True)
class InversionTask(PairedTask):
    """Rebuild images and grade them.

    Args:
        limits: how many rows of validation and targets are rebuilt; None: all.
    """

    limits: tuple[int, int] | None = None

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Fit, rebuild, grade."""
        adversary = configured(RECONSTRUCTORS.get(self.adversary), self.settings, self.adversary)
        if self.doubled:
            twice = adversary.doubled()
            if twice is None:
                raise NotApplicableError("it does not train by gradient steps")
            adversary = twice
        world = place.world()
        if adversary.reads_repeats:
            if not self.beside:
                raise NotApplicableError(NO_REPEATS if self.defense else NO_DEFENSE)
            world = first_rows(world, place.arrays(REPEATS))
        graded = assess_images(
            adversary,
            reordered(world, self.seed),
            self.task,
            self._threat(),
            arm=self.arm,
            **self._seeds(),
            defense=self._defense(place),
            limits=self.limits,
        )
        arrays = {**_scores("validation", graded.validation), **_scores("targets", graded.targets)}
        if self.arm == "attack":
            arrays |= {"shown.rows": _array(graded.shown), "shown.images": _array(graded.images)}
        return _outcome(arrays, graded.flags, graded.cost.model_dump())


@dataclass(frozen=True, kw_only=True)
class LinkageTask(PairedTask):
    """Match releases with images, or with other releases of the same images, and grade the matches.

    Args:
        kind: image or release.
    """

    kind: str = "image"

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Fit, match, grade."""
        matcher = configured(MATCHERS.get(self.adversary), self.settings, self.adversary)
        if self.doubled:
            raise NotApplicableError("it does not train by gradient steps")
        world = place.world()
        if self.kind == "release":
            if matcher.needs_images:
                raise NotApplicableError("there are two releases to match and no images")
            world = beside_images(world, place.arrays(AGAIN))
        graded = assess_matching(
            matcher,
            reordered(world, self.seed),
            self.task,
            self._threat(),
            arm=self.arm,
            **self._seeds(),
            defense=self._defense(place),
        )
        arrays = {**_matches("validation", graded.validation), **_matches("targets", graded.targets)}
        return _outcome(arrays, graded.flags, graded.cost.model_dump())


def first_rows(world: EvaluationData, repeats: dict[str, Tensor]) -> EvaluationData:
    """The first rows of every part, with several releases of each in the place of one."""

    def first(name: str) -> Part:
        part: Part = getattr(world, name)
        rows = torch.arange(len(repeats[name]), device=part.release.device)
        return replace(part.take(rows), release=repeats[name])

    return replace(world, train=first("train"), validation=first("validation"), targets=first("targets"))


def beside_images(world: EvaluationData, again: dict[str, Tensor]) -> EvaluationData:
    """A world in which other releases stand in the images' place, each as one row of pixels."""

    def beside(name: str) -> Part:
        part: Part = getattr(world, name)
        return replace(part, images=again[name].float().reshape(len(part), 1, 1, -1))

    return EvaluationData(
        train=beside("train"), validation=beside("validation"), targets=beside("targets"), classes=world.classes
    )


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


def _matches(part: str, matches: Matches) -> Arrays:
    arrays = {f"{part}.hit.{rule}": _array(right) for rule, right in matches.hit.items()}
    return {**arrays, f"{part}.chance": _array(matches.chance)}


def _array(values: Tensor) -> np.ndarray[Any, Any]:
    return (values.to(torch.uint8) if values.dtype == torch.bool else values).cpu().numpy()


def _outcome(arrays: Arrays, flags: tuple[str, ...], cost: dict[str, float]) -> Outcome:
    return Outcome(status="measured", flags=flags, cost=cost, arrays=arrays)
