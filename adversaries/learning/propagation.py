"""Labels spread over unlabelled rows along a graph of nearest neighbors, in closed form.

Axes: n rows of a graph of which the first m have labels, d columns, k classes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adversaries.learning.kernels import leave_one_out_possible, wide

NEIGHBORS = 10
_REACHES = (0.99, 0.9, 0.5)


def graph(x: Float[Tensor, "n d"], neighbors: int = NEIGHBORS) -> Float[Tensor, "n n"]:
    """Weights between nearest neighbors, divided by the roots of both rows' sums.

    A weight falls with the squared distance over the product of both rows' distances to their last neighbor.

    Source: Zelnik-Manor, Perona, "Self-Tuning Spectral Clustering", NIPS 2004.

    Args:
        x: rows.
        neighbors: of every row.
    """
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(torch.inf)
    near = distance.topk(min(neighbors, len(x) - 1), largest=False)
    reach = near.values[:, -1].clamp_min(1e-12)
    weight = torch.exp(-near.values.square() / (reach[:, None] * reach[near.indices]))
    full = torch.zeros(len(x), len(x), dtype=wide(x.device), device=x.device)
    full.scatter_(1, near.indices, weight.to(full))
    full = torch.maximum(full, full.T)
    root = full.sum(1).clamp_min(1e-12).rsqrt()
    return full * root[:, None] * root[None, :]


def spread_labels(
    weights: Float[Tensor, "n n"], y: Int[Tensor, " m"], classes: int
) -> tuple[Float[Tensor, "n k"], float]:
    """Scores of every row, and how often the labelled rows are right when their own label is left out.

    With S the graph, scores are (I - a S)^-1 Y. A row's scores without its own label are its scores minus what it gave
    itself, so leaving out needs no further solution; it chooses a, which is .99 where classes have a single row.

    Source: Zhou, Bousquet, Lal, Weston, Schoelkopf, "Learning with Local and Global Consistency", NIPS 2003.

    Args:
        weights: of `graph`, the labelled rows first.
        y: their labels.
        classes: number of classes.
    """
    onehot = torch.nn.functional.one_hot(y, classes).to(weights)
    onehot = onehot / onehot.sum(0).clamp_min(1)
    best, chosen = -1.0, weights.new_zeros(len(weights), classes)
    identity = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    for reach in _REACHES if leave_one_out_possible(y) else _REACHES[:1]:
        # Only the columns of labelled rows count, for the others hold no label.
        columns = torch.linalg.solve(identity - reach * weights, identity[:, : len(y)])
        scores = columns @ onehot
        own = columns[: len(y)].diagonal()[:, None] * onehot
        right = float(((scores[: len(y)] - own).argmax(1) == y).double().mean())
        if right > best:
            best, chosen = right, scores
    return chosen, best
