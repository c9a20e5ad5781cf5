"""CFB: the conditional fairness bottleneck, a noisy code that may forget what the attribute tells anyway.

Axes: n images, k values or channels of one encoded image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from vfc.core.encoder import LOG_VARIANCE_LIMIT
from vfc.core.noise import NoiseLaw
from vfc.core.objective import kl_per_dimension, sample_latent
from vfc.core.split import values_in
from vfc.core.turns import Batch, Turn
from vfc.defense import DEFENSES
from vfc.defenses.split_point import SplitDefense
from vfc.defenses.split_training import SplitNetwork, Training, reader
from vfc.defenses.support import require_fitted


class GaussianCode(nn.Module):
    """Mean and log variance of a Gaussian around every encoded image, from a linear map over its channels.

    It starts with the encoded image as mean, and a variance of e^-4.

    Args:
        channels: of one encoded image; its first dimension.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(channels, channels), nn.Linear(channels, channels)
        nn.init.eye_(self.mean.weight)
        nn.init.zeros_(self.mean.bias)
        nn.init.zeros_(self.log_variance.weight)
        nn.init.constant_(self.log_variance.bias, -4.0)

    def forward(self, values: Float[Tensor, "n k ..."]) -> tuple[Float[Tensor, "n k ..."], Float[Tensor, "n k ..."]]:
        """Mean and log variance."""
        last = values.movedim(1, -1)
        mean, log_variance = self.mean(last).movedim(-1, 1), self.log_variance(last).movedim(-1, 1)
        return mean, log_variance.clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)


@DEFENSES.register("cfb", sweep={"weight": (0.1, 0.5, 0.9)})
@dataclass(frozen=True, kw_only=True)
class ConditionalFairnessBottleneck(SplitDefense):
    """CFB: a variational bottleneck whose task reader is told the attribute, so that the code need not carry it.

    Minimizes w * KL(q(z|x) to N(0, I)) + (1 - w) * CE_task of a reader of z and the attribute s; no adversary is
    trained. It publishes a draw of z. The head that the intended use needs reads z alone; it is trained beside, and
    its gradient does not reach the encoder.

    Claims: the code is short, and independent of the attribute where the task allows. Known breaks: the KL term bounds
    information on average over images, and the attribute is only left out where it pays; repeated releases of one image
    average the noise away. Cost: one more small network in training; publishing draws noise.

    Args:
        attribute: the label to leave out; None for the first of the data set that is not the task.
        weight: w above, in [0, 1], with the KL as a mean over the k values of z: the paper's beta is (1 - w) * k / w.
        layer, epochs, batch, lr: where the target is cut and how it is trained, as with every split-point defense.

    Source: Rodríguez-Gálvez, Thobaben, Skoglund, A variational approach to privacy and fairness, 2021,
    arXiv 2006.06332.
    """

    attribute: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        # A frozen dataclass; the declaration depends on the settings and is itself no setting.
        object.__setattr__(self, "stochastic", self.private)

    def extra(self, features: tuple[int, ...]) -> nn.Module | None:
        """The Gaussian code, if there is a bottleneck at all."""
        return GaussianCode(features[0]) if self.private else None

    def turns(self, training: Training) -> list[Turn]:
        """First encoder and informed reader, then the head on its own."""
        network, weight, attribute = training.network, self.weight, training.attribute
        code = require_fitted(network.extra, "cfb")
        if attribute is None:
            raise ValueError("expected an attribute")
        known, classes = attribute.classes, training.data.num_classes
        informed = training.opponent("informed", lambda: reader(values_in(network.features) + known, classes))

        def coding(batch: Batch) -> Tensor:
            mean, log_variance = code(network.encoder(batch.images))
            z = sample_latent(mean.flatten(1), log_variance.flatten(1), training.generator)
            told = one_hot(batch.attribute, known).to(z)
            kl = kl_per_dimension(mean.flatten(1), log_variance.flatten(1)).mean()
            return weight * kl + (1 - weight) * cross_entropy(informed(torch.cat([z, told], dim=1)), batch.labels)

        def reading(batch: Batch) -> Tensor:
            with torch.no_grad():
                mean, log_variance = code(network.encoder(batch.images))
                z = sample_latent(mean.flatten(1), log_variance.flatten(1), training.generator)
            return cross_entropy(network.head(z.reshape(mean.shape)), batch.labels)

        return [
            Turn(name="encoder", learns=[network.encoder, code, informed], loss=coding),
            Turn(name="head", learns=[network.head], loss=reading),
        ]

    def encoded(
        self, network: SplitNetwork, x: Float[Tensor, "n c h w"], generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """A draw from the code of every image."""
        values = network.encoder(x)
        if network.extra is None:
            return values, None
        mean, log_variance = network.extra(values)
        drawn = sample_latent(mean.flatten(1), log_variance.flatten(1), generator)
        return drawn.reshape(mean.shape), None

    def noise_law(self) -> NoiseLaw | None:
        """The law q(z|x) that releases are drawn from; None without a bottleneck."""
        network = require_fitted(self.fitted, "cfb")
        code = network.extra
        if code is None:
            return None

        def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_variance = code(network.encoder(x.to(network.device)))
            return mean.flatten(1).to(x.device), log_variance.flatten(1).to(x.device)

        return NoiseLaw(where="release", statistics=statistics)
