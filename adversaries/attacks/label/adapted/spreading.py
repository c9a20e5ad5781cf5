"""Labels spread over the attacker's unlabelled releases, then read by a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, KernelName, ProbeAttack, fit_best, flat, spread
from adversaries.learning.networks import ChannelMatch, batchnorms, head_inputs, reestimate
from adversaries.learning.propagation import graph, spread_labels
from adversaries.learning.views import View, look_through
from adversaries.threat import Level
from vfc.errors import NotApplicableError

_MOST_ROWS, _FAR = 2000, 10.0
_VIEWS: tuple[View, ...] = ("common", "standard", "unit")
Look = Callable[[Tensor], Tensor]


@ADVERSARIES.register("spreading", goals=("task", "attribute"), order=227)
@dataclass(frozen=True, kw_only=True)
class Spreading(Adversary):
    """Few labels spread over all releases of the pool, from neighbor to neighbor.

    Knows: labelled and unlabelled releases of its own pool.
    Does: connects nearest neighbors among at most 2,000 releases, spreads the labels along them in closed form, and
    trains kernel ridge regression on what every release of the pool was called, so that a graded release is judged by
    itself. Scaling and reach by leaving out labelled rows; one scale for all columns where classes have a single row.
    Source: Zhou, Bousquet, Lal, Weston, Schoelkopf, "Learning with Local and Global Consistency", NIPS 2003.

    Args:
        columns: of wider releases it looks at so many values, evenly among all.
    """

    level: ClassVar[Level] = "L2"

    columns: int = 4096

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness."""
        pool = flat(view.unlabelled)
        places = spread(pool.shape[1], self.columns).to(pool.device)
        looks = [look_through(each, pool[:, places]) for each in _VIEWS]
        return _spread(view, [_through(look, places) for look in looks if look is not None])


@ADVERSARIES.register("spreading-features", goals=("task", "attribute"), order=312)
@dataclass(frozen=True, kw_only=True)
class SpreadingOnFeatures(Adversary):
    """Few labels spread over all releases of the pool, along the features of an unintended model.

    Knows: labelled and unlabelled releases of its own pool, its own clean images, the models trained on them.
    Does: matches channel statistics to clean images and re-estimates BatchNorm statistics where there are any; then as
    `spreading`, on what reaches the model's head, its columns standardized.
    Source: Zhou, Bousquet, Lal, Weston, Schoelkopf, "Learning with Local and Global Consistency", NIPS 2003.

    Args:
        model: name of the unintended model.
    """

    level: ClassVar[Level] = "L2"
    needs_image_shape: ClassVar[bool] = True
    per_model: ClassVar[bool] = True

    model: str

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:
        """Fit; closed form but for the order in which statistics are re-estimated."""
        model = view.model(self.model)
        prepare = ChannelMatch.between(view.unlabelled, view.images[0])
        pool = prepare(view.unlabelled)
        try:
            batchnorms(model)
        except NotApplicableError:
            pass
        else:
            reestimate(model, pool, generator)
        columns = Columns.fit(head_inputs(model, pool))

        def features(rows: Tensor) -> Tensor:
            return columns(head_inputs(model, prepare(rows))).clamp(-_FAR, _FAR)

        return _spread(view, [features])


def _through(look: Look, places: Tensor) -> Look:
    return lambda rows: look(flat(rows)[:, places])


def _without(pool: Tensor, labelled: Tensor) -> Tensor:
    """The rows of the pool that are not labelled: a copy of a labelled row would tell it its own label."""
    known = set(_keys(labelled))
    new = torch.tensor([key not in known for key in _keys(pool)], dtype=torch.bool)
    return pool[new.to(pool.device)]


def _keys(release: Tensor) -> list[int]:
    """One number a row, equal where rows are."""
    rows = release.reshape(len(release), -1).contiguous().view(torch.uint8).cpu().numpy()
    return [hash(row.tobytes()) for row in rows]


def _spread(view: Knowledge, looks: list[Look]) -> ProbeAttack:
    """Spread labels along the best of some features, and fit a kernel on the labels that come out."""
    release, y = view.labelled
    kept = spread(len(y), _MOST_ROWS // 2).to(y.device)
    pool = _without(view.unlabelled, release)
    others = spread(len(pool), _MOST_ROWS - len(kept)).to(pool.device)
    best, look, scores = -1.0, looks[0], torch.zeros(0)
    for each in looks:
        weights = graph(each(torch.cat([release[kept], pool[others]])))
        found, right = spread_labels(weights, y[kept], view.num_classes)
        if right > best:
            best, look, scores = right, each, found
    # The labels that were given stand; the rest is what was spread.
    called = torch.cat([y, scores[len(kept) :].argmax(1).to(y)])
    x = look(torch.cat([release, pool[others]]))
    middle = float(torch.cdist(x[:256], x[:256]).median()) or 1.0
    kernels: list[tuple[KernelName, float]] = [("linear", 1.0), ("rbf", 0.5 * middle)]
    return ProbeAttack(features=look, ridge=fit_best(x, called, view.num_classes, kernels))
