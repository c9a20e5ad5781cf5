"""Kernel and linear probes on the view of a release that tells most.

Axes: n rows, d columns, k classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.attacks.label.probes.linear import LinearAttack, fit_logistic
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import (
    Basis,
    KernelName,
    ProbeAttack,
    Ridge,
    fit_best,
    flat,
    leave_one_out_possible,
    spread,
    strongest,
)
from adversaries.learning.views import VIEWS, View, look_through
from adversaries.threat import Level

_SCREEN, _MIDDLE = 512, 256
_USUAL, _BANDWIDTHS = 0.6, (0.6, 0.35, 1.0)


def _middle(x: Tensor) -> float:
    """Usual distance of two rows."""
    return float(torch.cdist(x[:_MIDDLE], x[:_MIDDLE]).median()) or 1.0


def _looks(pool: Tensor, views: tuple[View, ...]) -> list[Callable[[Tensor], Tensor]]:
    found = (look_through(view, pool) for view in views)
    return [look for look in found if look is not None]


@ADVERSARIES.register("row-views", goals=("task", "attribute"), order=225)
@dataclass(frozen=True, kw_only=True)
class RowViews(Adversary):
    """A Gaussian kernel on releases that are freed from their own scale and offset.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: gives every row length 1, or mean 0 and deviation 1, or takes signed logarithms of its values about their
    mean size, or places among the values of a column, or columns that are uncorrelated; then kernel ridge regression.
    View and bandwidth by leave-one-out inside the labelled rows; length 1 where classes have a single row.

    Args:
        columns: of wider releases it looks at so many values, evenly among all.
    """

    level: ClassVar[Level] = "L2"

    columns: int = 1024

    def fit(self, view: Knowledge, generator: torch.Generator) -> ProbeAttack:  # noqa: ARG002
        """Fit; closed form, no randomness."""
        release, y = view.labelled
        pool = flat(view.unlabelled)
        places = spread(pool.shape[1], self.columns).to(pool.device)
        rows = spread(len(y), _SCREEN).to(y.device)
        x = flat(release)[:, places]
        looks = _looks(pool[:, places], ("unit", "row", "logarithm", "quantile", "white"))
        look = looks[0]
        if leave_one_out_possible(y[rows]):
            fits = []
            for each in looks:
                shown = each(x[rows])
                fits.append(Ridge.fit(Basis.fit(shown, "rbf", _USUAL * _middle(shown)), y[rows], view.num_classes))
            look = looks[strongest(fits)]

        def features(some: Tensor) -> Tensor:
            return look(flat(some)[:, places])

        shown = features(release)
        kernels: list[tuple[KernelName, float]] = [("rbf", share * _middle(shown)) for share in _BANDWIDTHS]
        return ProbeAttack(features=features, ridge=fit_best(shown, y, view.num_classes, kernels))


@ADVERSARIES.register("scaled-linear", goals=("task", "attribute"), order=215)
@dataclass(frozen=True, kw_only=True)
class ScaledLinear(Adversary):
    """Logistic regression whose scaling, too, is chosen inside the labelled rows.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: one scale for all columns, every column its own, rows of length 1 or of deviation 1, signed logarithms,
    places among the values of a column, or uncorrelated columns: by leave-one-out of a ridge regression inside the
    labelled rows. Then L-BFGS with an L2 penalty cross-validated inside the labelled rows. One scale for all columns
    where classes have a single row.

    Args:
        iterations: L-BFGS iterations per fit, at most.
        columns: of wider releases it looks at so many values, evenly among all.
    """

    level: ClassVar[Level] = "L2"

    iterations: int = 60
    columns: int = 4096

    def fit(self, view: Knowledge, generator: torch.Generator) -> LinearAttack:  # noqa: ARG002
        """Choose and fit; convex, so no randomness is used."""
        release, y = view.labelled
        pool = flat(view.unlabelled)
        places = spread(pool.shape[1], self.columns).to(pool.device)
        rows = spread(len(y), _SCREEN).to(y.device)
        x = flat(release)[:, places]
        looks = _looks(pool[:, places], VIEWS)
        chosen = 0
        if leave_one_out_possible(y[rows]):
            chosen = strongest([Ridge.fit(Basis.fit(look(x[rows])), y[rows], view.num_classes) for look in looks])
        look = looks[chosen]
        logistic = fit_logistic(look(x), y, view.num_classes, iterations=self.iterations)
        return LinearAttack(
            features=lambda some: look(flat(some)[:, places]),
            logistic=logistic,
            gradient_steps=logistic.iterations,
            flags=frozenset({"ZERO_GRADIENT"}) if logistic.zero_gradient else frozenset(),
        )

    def doubled(self) -> ScaledLinear:
        """The same with twice the iterations."""
        return replace(self, iterations=2 * self.iterations)
