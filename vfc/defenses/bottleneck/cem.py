"""CEM: encoded images that lie close together inside every class, with noise.

Axes: n images, d values of one encoded image, m clusters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vfc.core.noise import NoiseLaw
from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import SplitNetwork, Training, noise_like
from vfc.defenses.support import require_fitted, require_range
from vfc.training import predict_logits

_LLOYD = 10
_FLOOR = 1e-4
"""Variance that takes the place of the noise's where there is none, so that the logarithm has a bottom."""


def cluster_log_variance(
    values: Float[Tensor, "n d"], cluster: Int[Tensor, " n"], centers: Float[Tensor, "m d"], noise: float
) -> Float[Tensor, ""]:
    """Mean of log(1 + v / s^2), v the variance of a value about its cluster's center and s^2 that of the noise.

    Half of it, times the number of values, is at least what the noisy values tell of the image beyond its cluster, in
    nats and on average: no distribution of that variance tells more through such noise than a Gaussian.

    Args:
        values: encoded images without noise.
        cluster: the cluster of every row.
        centers: of all clusters.
        noise: variance of the noise, above 0.
    """
    errors = (values - centers[cluster]).square()
    total = torch.zeros_like(centers).index_add(0, cluster, errors)
    count = torch.bincount(cluster, minlength=len(centers)).to(values)
    here = count > 0
    variance = total[here] / count[here, None]
    return ((variance / noise).log1p().mean(1) * count[here]).sum() / count.sum()


@torch.no_grad()
def class_clusters(
    values: Float[Tensor, "n d"], labels: Int[Tensor, " n"], classes: int, each: int, generator: torch.Generator
) -> tuple[Int[Tensor, " n"], Float[Tensor, "m d"]]:
    """Cluster the values of every class by itself (k-means, ten rounds from random rows).

    Args:
        values: encoded images.
        labels: their classes.
        classes: how many classes.
        each: clusters of a class; fewer where it has fewer rows.
        generator: draws the first centers.

    Returns:
        The cluster of every row, and the centers of all.
    """
    cluster = torch.zeros_like(labels)
    centers: list[Tensor] = []
    for rows in _rows_by_class(labels, classes):
        own = values[rows]
        chosen = torch.randperm(len(rows), generator=generator)[:each].to(values.device)
        middle = own[chosen]
        for _ in range(_LLOYD):
            nearest = torch.cdist(own, middle).argmin(1)
            count = torch.bincount(nearest, minlength=len(middle)).clamp_min(1).to(own)
            sums = torch.zeros_like(middle).index_add(0, nearest, own)
            empty = ~torch.isin(torch.arange(len(middle), device=own.device), nearest)
            middle = torch.where(empty[:, None], middle, sums / count[:, None])
        cluster[rows] = torch.cdist(own, middle).argmin(1) + sum(len(other) for other in centers)
        centers.append(middle)
    return cluster, torch.cat(centers)


def _rows_by_class(labels: Int[Tensor, " n"], classes: int) -> Iterator[Int[Tensor, " rows"]]:
    for label in range(classes):
        rows = torch.nonzero(labels == label).flatten()
        if len(rows):
            yield rows


@DEFENSES.register("cem", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class ConditionalEntropyMaximization(SplitDefense):
    """CEM: the encoder draws the images of a class together, and Gaussian noise hides what is left between them.

    Encoder and head minimize (1 - w) * CE_task + w * the mean log variance within clusters of each class, in units of
    the noise's variance; the clusters are found anew before every epoch. It publishes encoded images with noise.

    Claims: the entropy of the image given the release, and with it the error of every reconstruction, is bounded from
    below. Known breaks: the bound is about means over images and supposes a mixture of Gaussians; the class itself, and
    whatever goes with it, stays readable; repeated releases of one image average the noise away.
    Cost: one pass over the training images per epoch; publishing is the first part of the target, and noise.

    Args:
        sigma: standard deviation of the noise, in units of the layer's output; 0 for none.
        clusters: of every class; one Gaussian each.
        weight: w above, in [0, 1]; the paper adds its term with a factor lambda = w / (1 - w).
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Xia, Yu, Yang, Ding, Chen, Duan, Kot, Jiang, Theoretical insights in model inversion robustness and
    conditional entropy maximization for collaborative inference systems, 2025, arXiv 2503.00383.
    """

    sigma: float = 0.1
    clusters: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_range("sigma", self.sigma, 0)
        require_range("clusters", self.clusters, 1)
        # A frozen dataclass; the declaration depends on the settings and is itself no setting.
        object.__setattr__(self, "stochastic", self.sigma > 0)

    def turns(self, training: Training) -> list[Turn]:
        """Encoder and head, for the task and against the variance within clusters."""
        network, data, weight, noise = training.network, training.data, self.weight, self.sigma**2 or _FLOOR
        found: dict[str, Tensor] = {}

        def cluster() -> None:
            values = predict_logits(nn.Sequential(network.encoder, nn.Flatten()), data.images)
            labels = data.labels.cpu()
            own = class_clusters(values, labels, data.num_classes, self.clusters, training.generator)
            found["of"], found["centers"] = own[0], own[1].to(network.device)

        def loss(batch: Batch) -> Tensor:
            values = network.encoder(batch.images)
            noisy = values + self.sigma * training.noise(values)
            task = cross_entropy(network.head(noisy), batch.labels)
            own = found["of"][batch.rows.cpu()].to(values.device)
            spread = cluster_log_variance(values.flatten(1), own, found["centers"], noise)
            return (1 - weight) * task + weight * spread

        return [Turn(name="encoder", learns=[network.encoder, network.head], loss=loss, before_epoch=cluster)]

    def encoded(
        self, network: SplitNetwork, x: Float[Tensor, "n c h w"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Encoded images with noise."""
        values = network.encoder(x)
        return values + self.sigma * noise_like(values, generator), None

    def noise_law(self) -> NoiseLaw | None:
        """The encoded image with variance sigma^2; None without noise."""
        network = require_fitted(self.fitted, "cem")
        if self.sigma == 0:
            return None
        log_variance = 2 * math.log(self.sigma)

        def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
            mean = network.encoder(x.to(network.device)).flatten(1).to(x.device)
            return mean, torch.full_like(mean, log_variance)

        return NoiseLaw(where="release", statistics=statistics)

    def undefended(self) -> ConditionalEntropyMaximization:
        """The same network trained for the task alone and published without noise, unfitted."""
        return self._replace(weight=0.0, sigma=0.0, fitted=None, target=None)
