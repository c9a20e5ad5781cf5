"""NoPeek: encoded images that depend little on the images, measured by distance correlation.

Axes: n rows, d and e values of one row.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import Training

_LEAST = 1e-12
"""Below this, squared covariances count as none: the square root has no finite slope at zero."""


def distance_correlation(first: Float[Tensor, "n d"], second: Float[Tensor, "n e"]) -> Float[Tensor, ""]:
    """How much two samples depend on each other: 0 to 1, and 1 for a scaled, moved or rotated copy.

    dCor = sqrt(dCov^2 / sqrt(dVar^2(first) * dVar^2(second))), the statistic with all n * n pairs, of Euclidean (not
    squared) distances. A sample that never changes depends on nothing: 0. Differentiable.

    Args:
        first, second: two views of the same n >= 2 cases.

    Source: Székely, Rizzo, Bakirov, Measuring and testing dependence by correlation of distances, 2007,
    arXiv 0803.4101.
    """
    a, b = _centered(first), _centered(second)
    covariance = (a * b).mean().clamp_min(0)
    spread = (a.square().mean() * b.square().mean()).clamp_min(_LEAST**2).sqrt()
    return (covariance / spread).clamp(min=_LEAST, max=1).sqrt()


def _centered(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Distances less the means of their row and column, plus the mean of all."""
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return distances - distances.mean(0, keepdim=True) - distances.mean(1, keepdim=True) + distances.mean()


@DEFENSES.register("nopeek", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class NoPeek(SplitDefense):
    """NoPeek: the encoder minimizes the distance correlation between images and what it publishes.

    Encoder and head minimize (1 - w) * CE_task + w * dCor(x, z), over the pairs of every batch. It publishes encoded
    images.

    Claims: images cannot be rebuilt from the release. Known breaks: a correlation of distances is an average over
    pairs, and bounds no attack; decoders trained on pairs still find much (Singh et al., 2021, arXiv 2012.11025).
    Cost: distances of all pairs of a batch in training; publishing is the first part of the target.

    Args:
        weight: w above, in [0, 1]; the paper's alpha.
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Vepakomma, Singh, Zhang, Gupta, Raskar, NoPeek-Infer: preventing face reconstruction attacks in distributed
    inference after on-premise training, 2021 (IEEE FG); NoPeek, 2020, arXiv 2008.09161.
    """

    def turns(self, training: Training) -> list[Turn]:
        """Encoder and head, for the task and against the distance correlation."""
        network, weight = training.network, self.weight

        def loss(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            task = cross_entropy(network.head(values), batch.labels)
            return (1 - weight) * task + weight * distance_correlation(batch.images.flatten(1), values.flatten(1))

        return [Turn(name="encoder", learns=[network.encoder, network.head], loss=loss)]
