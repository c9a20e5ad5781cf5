"""Readers of releases, taught by shadow defenses how those of members look.

Axes: m rows that are scored, r rows that are learned from, d features of one release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from adversaries.adversary import ADVERSARIES as READERS
from adversaries.adversary import Adversary
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import spread
from adversaries.threat import ThreatModel

_LABEL = "member"


@ADVERSARIES.register(
    "shadow-reader",
    goals=("membership",),
    variants=({"reader": "products"}, {"reader": "residues"}, {"reader": "row-views"}),
    order=32,
)
@dataclass(frozen=True, kw_only=True)
class ShadowReader(MembershipAdversary):
    """Reads marks of members that no single number of a release shows: products, remainders, rows of their own scale.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: one of the readers of labels, with the membership of the shadows' own images as the label.

    Args:
        reader: `products`, `residues` or `row-views`; see their cards.
        rows: how many releases of shadows it learns from, at most: evenly among all.

    Source: Shokri et al., Membership inference attacks against machine learning models, 2017, arXiv 1610.05820 (the
        training on shadows).
    """

    reader: Literal["products", "residues", "row-views"] = "products"
    rows: int = 512

    def score(self, sight: Sight) -> Numbers:
        """How much likelier the reader thinks a member than another; raises its `NotApplicableError`."""
        kind = READERS.get(self.reader)
        if not issubclass(kind, Adversary):
            raise TypeError(f"expected a reader of labels, got {kind}")
        release = np.concatenate([lesson.release for lesson in sight.lessons])
        rows = spread(len(release), self.rows).numpy()
        lessons = Part(
            images=None,
            release=torch.from_numpy(release[rows]),
            labels={_LABEL: torch.from_numpy(sight.answers.reshape(-1)[rows]).long()},
        )
        nobody = lessons.nothing()
        world = EvaluationData(train=lessons, validation=nobody, targets=nobody, classes={_LABEL: 2})
        view = Knowledge(world, ThreatModel(level="L2", labels_per_class="all"), _LABEL)
        attack = kind().fit(view, torch.Generator().manual_seed(0))
        scores = attack.guess(torch.from_numpy(sight.readings.release)).double()
        found: Numbers = (scores[:, 1] - scores[:, 0]).numpy()
        return found
