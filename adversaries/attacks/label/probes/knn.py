"""Nearest neighbors.

Axes: n and m rows, d columns, k classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.goals.label import Scores
from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat, leave_one_out_possible, spread
from adversaries.threat import Level

_METRICS = ("euclidean", "standardized", "cosine")
_NEIGHBORS = (1, 3, 5, 9, 17)


@dataclass(frozen=True, kw_only=True)
class NeighborAttack(Attack):
    """Votes of the nearest labelled releases.

    Args:
        columns: standardization of columns.
        center: mean of every column after one common scaling.
        scale: the common scale of all columns.
        metric: how distance is measured.
        neighbors: how many vote.
        anchors: the embedded labelled releases.
        votes: one-hot labels of the labelled releases.
        scale: votes.
    """

    columns: Columns
    metric: str
    neighbors: int
    anchors: Float[Tensor, "m d"]
    votes: Float[Tensor, "m k"]
    scale: Scores = "shares"

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Votes; of equally many, those of the nearer ones win."""
        near = _ranked(_embed(flat(release), self.columns, self.metric), self.anchors, self.neighbors)
        return _tally(near, self.votes)


def _embed(x: Tensor, columns: Columns, metric: str) -> Tensor:
    """Rows whose Euclidean distance is the metric."""
    if metric == "standardized":
        return columns(x)
    # One scale for all columns keeps extreme values inside float32 and leaves the order of distances as it is.
    largest = columns.inverse[columns.inverse > 0]
    scale = largest.amin() if len(largest) else columns.inverse.new_ones(())
    common = ((x.to(columns.mean) - columns.mean) * scale).clamp(-1e6, 1e6).float()
    if metric == "cosine":
        return torch.nn.functional.normalize(common, dim=1)
    return common


def _ranked(x: Tensor, anchors: Tensor, neighbors: int) -> Tensor:
    """Positions of the nearest anchors, nearest first."""
    return torch.cdist(x, anchors).topk(min(neighbors, len(anchors)), largest=False).indices


def _tally(near: Int[Tensor, "n j"], votes: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
    count = near.shape[1]
    weight = 1 + 1e-3 * torch.arange(count, 0, -1, device=near.device) / count
    return (votes[near] * weight[None, :, None]).sum(1)


@ADVERSARIES.register("knn", goals=("task", "attribute"), order=220)
@dataclass(frozen=True, kw_only=True)
class NearestNeighbors(Adversary):
    """Votes of the nearest labelled releases.

    Knows: labelled releases; unlabelled ones for the scale of every column.
    Does: chooses metric (Euclidean, standardized, cosine about the mean) and number of neighbors by leave-one-out
    inside the labelled rows; Euclidean and 1 when classes have a single row.

    Args:
        queries: rows that are left out, at most.
    """

    level: ClassVar[Level] = "L2"

    queries: int = 2000

    def fit(self, view: Knowledge, generator: torch.Generator) -> NeighborAttack:  # noqa: ARG002
        """Keep the labelled rows; no randomness is used."""
        release, y = view.labelled
        columns, x = Columns.fit(flat(view.unlabelled)), flat(release)
        votes = torch.nn.functional.one_hot(y, view.num_classes).float()
        best, metric, neighbors = -1.0, "euclidean", 1
        if leave_one_out_possible(y):
            rows = spread(len(y), self.queries).to(y.device)
            for option in _METRICS:
                anchors = _embed(x, columns, option)
                distance = torch.cdist(anchors[rows], anchors)
                distance[torch.arange(len(rows), device=y.device), rows] = torch.inf
                near = distance.topk(min(_NEIGHBORS[-1], len(y) - 1), largest=False).indices
                for count in _NEIGHBORS:
                    if count <= near.shape[1]:
                        right = _tally(near[:, :count], votes).argmax(1) == y[rows]
                        if float(right.double().mean()) > best:
                            best, metric, neighbors = float(right.double().mean()), option, count
        return NeighborAttack(
            columns=columns,
            metric=metric,
            neighbors=neighbors,
            anchors=_embed(x, columns, metric),
            votes=votes,
        )
