"""Minimum description length: how many bits it takes to tell a label to someone who has the releases.

Axes: n rows, d columns, k classes.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.attacks.label.probes.linear import fit_logistic
from adversaries.learning.kernels import Columns, flat

FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
"""Ends of the blocks in which labels are told, as shares of all rows."""

_LEAST = 4


def block_ends(rows: int) -> tuple[int, ...]:
    """Ends of the blocks; a first block of fewer than four rows teaches nothing and is merged into the next."""
    ends = dict.fromkeys(math.ceil(share * rows) for share in FRACTIONS)
    return tuple(end for end in ends if end >= min(_LEAST, rows))


def online_codelength(
    release: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    classes: int,
    *,
    scale: Shaped[Tensor, "m ..."],
    iterations: int = 60,
) -> Float[Tensor, " n"]:
    """Bits that each label costs when labels are told block after block and the code learns from those told before.

    The first block costs log2 k bits per label. Each later one is coded with p = (m q + 1) / (m + k), where q is what
    logistic regression fitted on the m labels told so far expects (penalty cross-validated by likelihood inside them),
    and the rest is a uniform code that bounds what a surprise can cost.
    Source: Voita, Titov, "Information-Theoretic Probing with Minimum Description Length", EMNLP 2020, arXiv 2003.12298.

    Args:
        release: any releases; what is not finite counts as 0.
        labels: what is told, from 0.
        classes: number of classes k.
        scale: unlabelled releases that give the scale of every column.
        iterations: L-BFGS iterations per fit, at most.
    """
    x = Columns.fit(flat(scale))(flat(release)).clamp(-10, 10)
    bits = torch.full((len(labels),), math.log2(classes), dtype=torch.float64)
    ends = block_ends(len(labels))
    for known, end in pairwise(ends):
        probe = fit_logistic(x[:known], labels[:known], classes, iterations=iterations, by="likelihood")
        expected = probe.logits(x[known:end]).softmax(1).double()
        told = expected.gather(1, labels[known:end, None]).squeeze(1)
        bits[known:end] = -((known * told + 1) / (known + classes)).log2().cpu()
    return bits
