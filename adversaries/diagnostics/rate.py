"""The rate of a variational latent: how many nats about an image it may carry.

Axes: n images, k latent dimensions.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vfc.core.objective import kl_per_dimension
from vfc.errors import NotApplicableError


def rate_per_dimension(mean: Float[Tensor, "n k"], log_variance: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """KL(q(z|x) || N(0, 1)) of every latent dimension in nats, in float64, at least 0.

    Summed over dimensions and averaged over images it bounds the mutual information of image and sampled latent from
    above; of a latent whose mean is published it bounds nothing.

    Source: Kingma, Welling, Auto-encoding variational Bayes, ICLR 2014; Alemi et al., Deep variational information
    bottleneck, ICLR 2017.

    Raises:
        NotApplicableError: numbers that are not finite.
    """
    nats = kl_per_dimension(mean.double(), log_variance.double())
    if not bool(torch.isfinite(nats).all()):
        raise NotApplicableError("the latent's mean or variance is not finite")
    return nats.clamp_min(0)
