"""An adversary: what it may know, for what it competes, and how it guesses."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack


@dataclass(frozen=True, kw_only=True)
class OrientationAttack(Attack):
    """The class whose mean orientation is nearest."""

    statistic: str
    means: Tensor

    def guess(self, release):
        """Minus the distance to the mean orientation of every class."""
        return -(orientation(release, self.statistic)[:, None] - self.means).abs()


@ADVERSARIES.register("orientation", goals=("task", "attribute"), variants=({"statistic": "std"}, {"statistic": "var"}))
@dataclass(frozen=True, kw_only=True)
class Orientation(Adversary):
    """Guesses by whether rows or columns of the release differ more; knows labelled releases."""

    level: ClassVar[str] = "L2"
    needs_image_shape: ClassVar[bool] = True
    statistic: str

    def fit(self, view, generator):
        """Average the orientation of every class's labelled releases."""
        release, labels = view.labelled
        found = orientation(release, self.statistic)
        means = [found[labels == value].mean() for value in range(view.num_classes)]
        return OrientationAttack(statistic=self.statistic, means=torch.stack(means))


def orientation(release, statistic):
    """How much more rows differ from each other than columns, per release."""
    rows, columns = (getattr(release.float().mean((1, axis)), statistic)(1) for axis in (3, 2))
    return rows - columns
