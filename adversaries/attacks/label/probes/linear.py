"""Multinomial logistic regression, and the solver that other adversaries borrow.

Axes: n rows, d columns, k classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat, wide
from adversaries.threat import Level

_PENALTIES = (1.0, 0.1, 0.01, 0.001, 0.0001)
_FIXED_PENALTY = 0.01
_MANY_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """A fitted logistic regression.

    Args:
        weight: per column and class.
        bias: per class.
        penalty: the chosen penalty.
        share: how much of the given prior logits is added (0 without any).
        iterations: L-BFGS iterations, all fits of the cross-validation included.
        zero_gradient: whether the first gradient was zero although some column varies.
    """

    weight: Float[Tensor, "d k"]
    bias: Float[Tensor, " k"]
    penalty: float
    share: float = 0.0
    iterations: int = 0
    zero_gradient: bool = False

    def logits(self, x: Float[Tensor, "n d"], prior: Float[Tensor, "n k"] | None = None) -> Float[Tensor, "n k"]:
        """Logits of standardized rows."""
        scores = x.to(self.weight) @ self.weight + self.bias
        return (scores if prior is None or not self.share else scores + self.share * prior.to(scores)).float()


def fit_logistic(
    x: Float[Tensor, "n d"],
    y: Int[Tensor, " n"],
    classes: int,
    *,
    iterations: int = 60,
    prior: Float[Tensor, "n k"] | None = None,
    by: Literal["hits", "likelihood"] = "hits",
) -> Logistic:
    """Mean cross-entropy + penalty / 2 * |weight|^2 by L-BFGS, the penalty cross-validated inside the given rows.

    Three folds, or one held-out fold above 2,000 rows; with fewer than three rows per class the penalty is fixed.

    Args:
        x: standardized rows.
        y: their classes.
        classes: number of classes.
        iterations: L-BFGS iterations per fit, at most.
        prior: logits to start from; how much of them to keep is chosen together with the penalty.
        by: what cross-validation goes by.
    """
    x = x.to(wide(x.device) if x.numel() <= 2e7 else torch.float32)
    rotation = None
    if x.shape[1] > len(x):
        # The optimum lies in the span of the rows, so fewer rows than columns need only as many coordinates.
        rotation, triangle = torch.linalg.qr(x.T)
        x = triangle.T.contiguous()
    prior = None if prior is None else prior.to(x)
    shares = (0.0,) if prior is None else (0.0, 0.5, 1.0)
    folds = _folds(y)
    used = 0
    if folds is None:
        share, penalty = _share_by_likelihood(prior, y, shares), _FIXED_PENALTY
    else:
        count = 1 if len(x) > _MANY_ROWS else 3
        # Choosing needs less precision than solving.
        rough, held_prior = x.float(), None if prior is None else prior.float()
        quality: dict[tuple[float, float], float] = {}
        for fold in range(count):
            kept, left = folds != fold, folds == fold
            for share in shares:
                offsets = _scaled(held_prior, share, kept), _scaled(held_prior, share, left)
                start = None
                for penalty in _PENALTIES:
                    fitted = _minimize(rough[kept], y[kept], classes, penalty, iterations // 2, offsets[0], start)
                    start, used = fitted, used + fitted.iterations
                    held = rough[left] @ fitted.weight + fitted.bias
                    held = held if offsets[1] is None else held + offsets[1]
                    hits = (held.argmax(1) == y[left]).double().sum() * (by == "hits")
                    loss = torch.nn.functional.cross_entropy(held, y[left])
                    quality[share, penalty] = quality.get((share, penalty), 0.0) + float(hits - 1e-3 * loss)
        share, penalty = max(quality, key=lambda option: quality[option])
    whole = torch.ones_like(y, dtype=torch.bool)
    start = None
    for step in [*[p for p in _PENALTIES if p > penalty][-1:], penalty]:
        start = _minimize(x, y, classes, step, iterations, _scaled(prior, share, whole), start)
        used += start.iterations
    if start is None:
        raise ValueError("expected at least one penalty")
    weight = start.weight if rotation is None else rotation @ start.weight
    return replace(start, weight=weight, share=share, iterations=used)


def _folds(y: Tensor) -> Tensor | None:
    """Fold of every row, dealt class by class; None if classes are too small to be dealt."""
    counts = torch.bincount(y)
    if float(counts[counts > 0].double().median()) < 3:
        return None
    fold = torch.empty_like(y)
    for value in torch.nonzero(counts).flatten().tolist():
        rows = torch.nonzero(y == value).flatten()
        fold[rows] = torch.arange(len(rows), device=y.device) % 3
    return fold


def _scaled(prior: Tensor | None, share: float, rows: Tensor) -> Tensor | None:
    return None if prior is None or share == 0 else share * prior[rows]


def _share_by_likelihood(prior: Tensor | None, y: Tensor, shares: Iterable[float]) -> float:
    """The share of the prior under which the labels, unseen by it, are likeliest."""
    if prior is None:
        return 0.0
    return min(shares, key=lambda share: float(torch.nn.functional.cross_entropy(share * prior, y)))


def _minimize(
    x: Tensor,
    y: Tensor,
    classes: int,
    penalty: float,
    iterations: int,
    offset: Tensor | None,
    start: Logistic | None,
) -> Logistic:
    """One L-BFGS run with the gradient written out."""
    n, d = x.shape
    onehot = torch.nn.functional.one_hot(y, classes).to(x)
    theta = x.new_zeros((d + 1, classes))
    if start is not None:
        theta = torch.cat([start.weight, start.bias[None]])
    theta.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [theta], max_iter=iterations, tolerance_grad=1e-5, tolerance_change=1e-8, line_search_fn="strong_wolfe"
    )
    first: list[bool] = []

    @torch.no_grad()
    def closure() -> Tensor:
        logits = x @ theta[:d] + theta[d]
        logs = (logits if offset is None else logits + offset).log_softmax(1)
        error = (logs.exp() - onehot) / n
        gradient = torch.cat([x.T @ error + penalty * theta[:d], error.sum(0, keepdim=True)])
        if not first:
            first.append(not bool(gradient.any()))
        theta.grad = gradient
        return -(logs * onehot).sum() / n + penalty / 2 * theta[:d].square().sum()

    with torch.enable_grad():
        optimizer.step(closure)
    solved = theta.detach()
    varies = bool((x != x[:1]).any())
    return Logistic(
        weight=solved[:d],
        bias=solved[d],
        penalty=penalty,
        iterations=int(optimizer.state[theta]["n_iter"]),
        zero_gradient=first[0] and varies and start is None,
    )


@dataclass(frozen=True, kw_only=True)
class LinearAttack(Attack):
    """Logistic regression on columns of the release."""

    features: Callable[[Tensor], Tensor]
    logistic: Logistic
    gradient_steps: int
    flags: frozenset[str]

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Logits; each row stands alone."""
        return self.logistic.logits(self.features(release))


@ADVERSARIES.register("linear", goals=("task", "attribute"), order=210)
@dataclass(frozen=True, kw_only=True)
class Linear(Adversary):
    """Multinomial logistic regression on the flattened release.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: standardizes columns, then L-BFGS with an L2 penalty cross-validated inside the labelled rows (fixed when
    there are fewer than three per class).

    Args:
        iterations: L-BFGS iterations per fit, at most.
    """

    level: ClassVar[Level] = "L2"

    iterations: int = 60

    def fit(self, view: Knowledge, generator: torch.Generator) -> LinearAttack:  # noqa: ARG002
        """Fit; convex, so no randomness is used."""
        release, y = view.labelled
        columns = Columns.fit(flat(view.unlabelled))
        logistic = fit_logistic(columns(flat(release)), y, view.num_classes, iterations=self.iterations)
        return LinearAttack(
            features=lambda rows: columns(flat(rows)),
            logistic=logistic,
            gradient_steps=logistic.iterations,
            flags=frozenset({"ZERO_GRADIENT"}) if logistic.zero_gradient else frozenset(),
        )

    def doubled(self) -> Linear:
        """The same with twice the iterations."""
        return replace(self, iterations=2 * self.iterations)
