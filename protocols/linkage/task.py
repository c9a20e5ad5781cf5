"""The task of `linkage`: one adversary matches releases, in one arm, with one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from adversaries.evaluation_data import EvaluationData, Part, reordered
from adversaries.goals.matching import ADVERSARIES, Matches, assess_matching
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Arrays, Outcome
from protocols.evaluation.pairs import PairsTask
from vfc.config import configured
from vfc.errors import NotApplicableError

Gallery = Literal["image", "release"]
"""What releases are matched with."""

AGAIN = "again"
"""File beside the data: one more release of each image, (n, ...)."""


@dataclass(frozen=True, kw_only=True)
class LinkageTask(PairsTask):
    """Match releases with images, or with other releases of the same images, and grade the matches.

    Args:
        kind: what the gallery holds.
    """

    kind: Gallery = "image"

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Fit, match, grade."""
        matcher = configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary)
        if self.doubled:
            raise NotApplicableError("it does not train by gradient steps")
        data = handle.world()
        if self.kind == "release":
            if matcher.needs_images:
                raise NotApplicableError("there are two releases to match and no images")
            data = beside_images(data, handle.arrays(AGAIN))
        graded = assess_matching(
            matcher,
            reordered(data, self.seed),
            self.task,
            self.threat,
            arm=self.arm,
            **self.seeds,
            defense=self.shown(handle),
        )
        arrays = {**_matches("validation", graded.validation), **_matches("targets", graded.targets)}
        return Outcome(status="measured", flags=graded.flags, cost=graded.cost.model_dump(), arrays=arrays)


def beside_images(data: EvaluationData, again: dict[str, Tensor]) -> EvaluationData:
    """Data in which other releases stand in the images' place, each as one row of pixels."""

    def beside(name: str) -> Part:
        part: Part = getattr(data, name)
        return replace(part, images=again[name].float().reshape(len(part), 1, 1, -1))

    return EvaluationData(
        train=beside("train"), validation=beside("validation"), targets=beside("targets"), classes=data.classes
    )


def _matches(part: str, matches: Matches) -> Arrays:
    arrays = {f"{part}.hit.{rule}": right.to(torch.uint8).cpu().numpy() for rule, right in matches.hit.items()}
    return {**arrays, f"{part}.chance": matches.chance.cpu().numpy()}
