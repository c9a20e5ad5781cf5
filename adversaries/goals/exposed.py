"""Whom an attack exposes: the images that it picks out itself and names right. An average hides them.

Axes: n rows.
Source: Aerni, Zhang, Tramer, Evaluations of machine learning privacy defenses are misleading, 2024, arXiv 2404.17399.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

PRECISION, LEAST, FALLBACK = 0.9, 5, 0.02
"""The validation rows that set the threshold: how precise, and at least how many; else the share that is picked."""


def confidence(scores: Float[Tensor, "n k"], kind: Literal["logits", "shares"]) -> Float[Tensor, " n"]:
    """How sure a guess is: the share of its class, in [0, 1].

    Args:
        scores: what the attack said.
        kind: logits, or shares (votes, probabilities, regression on one-hot labels).
    """
    if kind == "logits":
        return scores.softmax(1).amax(1)
    shares = scores.clamp_min(0)
    return (shares / shares.sum(1, keepdim=True).clamp_min(1e-9)).amax(1)


def picked(
    sure_on_validation: Float[Tensor, " m"], right: Bool[Tensor, " m"], sure: Float[Tensor, " n"]
) -> Bool[Tensor, " n"]:
    """The rows that an attack picks out.

    Those as sure as the largest set of validation rows that is right in at least 90 % and has 5 rows; where there is no
    such set, the surest 2 %.

    Args:
        sure_on_validation: confidence on the attacker's validation part.
        right: whether its guesses there are right.
        sure: confidence on the rows to pick from.
    """
    threshold = _threshold(sure_on_validation, right)
    if threshold is not None:
        return sure >= threshold
    chosen = torch.zeros(len(sure), dtype=torch.bool, device=sure.device)
    # Of equals the first, so that an attack that is always equally sure does not pick everybody.
    chosen[sure.argsort(descending=True, stable=True)[: math.ceil(FALLBACK * len(sure))]] = True
    return chosen


def _threshold(sure: Float[Tensor, " m"], right: Bool[Tensor, " m"]) -> float | None:
    """The lowest confidence above which enough validation rows are right; None if there is none."""
    order = sure.argsort(descending=True, stable=True)
    sorted_sure, hits = sure[order], right[order].double().cumsum(0)
    counts = torch.arange(1, len(sure) + 1, device=sure.device)
    # A set ends where confidence changes: whoever is as sure as its last row belongs to it.
    ends = torch.ones_like(sorted_sure, dtype=torch.bool)
    ends[:-1] = sorted_sure[1:] < sorted_sure[:-1]
    good = torch.nonzero(ends & (counts >= LEAST) & (hits >= PRECISION * counts)).flatten()
    return float(sorted_sure[good[-1]]) if len(good) else None
