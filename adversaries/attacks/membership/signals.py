"""What a defense shows about an image that is in the attacker's hands: the signals of membership.

Axes: n images, c channels, h and w pixels, k signals, d features of one release.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adversaries.goals.membership import LARGEST, Readings
from adversaries.learning.kernels import as_float
from vfc.core.network import Network
from vfc.core.objective import kl_per_dimension
from vfc.defense import Defense

FEATURES = 1024
"""A release of more numbers is averaged over neighbors down to so many."""

_CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Readings, with the names of their signals.

    Args:
        names: of the columns of `readings.signals`.
        readings: of every image.
    """

    names: tuple[str, ...]
    readings: Readings


@torch.no_grad()
def measure(
    defense: Defense,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    generator: torch.Generator,
    *,
    device: str = "cpu",
) -> Measured:
    """Publish every image once and read what there is to read.

    Signals: `confidence` (with a target: logit of the probability of the label), `norm` (log length of the release),
    `change` (log mean squared difference to the image, where shapes agree), `kl` (of a variational latent).

    Args:
        defense: fitted.
        images, labels: in question.
        generator: randomness of the release.
        device: where to compute.
    """
    signals: dict[str, list[Tensor]] = {}
    features = []
    for rows in torch.split(torch.arange(len(images)), _CHUNK):
        x, y = images[rows].to(device), labels[rows].to(device)
        values = defense.publish(x, generator).values
        logits = defense.predict(values)
        if logits is not None:
            signals.setdefault("confidence", []).append(confidence(logits, y))
        release = as_float(values).double().clamp(-LARGEST, LARGEST)
        signals.setdefault("norm", []).append(release.flatten(1).norm(dim=1).clamp(min=1e-6).log())
        if release.shape == x.shape:
            difference = (release - x).flatten(1).square().mean(1)
            signals.setdefault("change", []).append(difference.clamp(min=1e-12).log())
        network = getattr(defense, "fitted", None)
        if isinstance(network, Network):
            mu, log_variance = network.encoder(x)
            signals.setdefault("kl", []).append(kl_per_dimension(mu.double(), log_variance.double()).sum(1))
        flat = release.flatten(1)
        features.append(flat if flat.shape[1] <= FEATURES else nn.functional.adaptive_avg_pool1d(flat, FEATURES))
    names = tuple(sorted(signals))
    columns = torch.stack([torch.cat(signals[name]) for name in names], dim=1)
    readings = Readings(
        signals=columns.double().cpu().clamp(-LARGEST, LARGEST).nan_to_num().numpy(),
        release=torch.cat(features).double().cpu().numpy(),
    )
    return Measured(names=names, readings=readings)


def confidence(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """log p / (1 - p) of the label's probability p, computed without losing what softmax rounds away."""
    logits = logits.double().nan_to_num(posinf=LARGEST, neginf=-LARGEST)
    own = logits.gather(1, labels[:, None])[:, 0]
    return own - logits.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
