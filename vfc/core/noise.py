"""The noise that a defense declares: what it adds, of which variance, and where.

Axes: n images, k values that the noise is added to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoiseLaw:
    """Independent Gaussian noise on every one of some values, from which the release is computed and from nothing else.

    What is computed from noisy values tells no more of the image than they do, so a bound for them holds for the
    release, whatever decoder, clipping or rounding comes after. Noise that does not depend on the image, added to
    nothing (a mean of zero), may have any distribution.

    Args:
        where: what the values are: `release`, or `latent`.
        statistics: images (n, c, h, w) to the mean and the log variance of the values, each (n, k), both finite and
            differentiable with respect to the images; it draws no random numbers.
    """

    where: str
    statistics: Callable[[Tensor], tuple[Tensor, Tensor]]
