"""Read the masked latent off the release, then attack that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from adversaries.adversary import ADVERSARIES, Adversary, Attack
from adversaries.attacks.mask.opened_latent import Inverse, ReadView, fit_inverse, open_latent
from adversaries.knowledge import Knowledge
from adversaries.threat import Level


@dataclass(frozen=True, kw_only=True)
class LatentAttack(Attack):
    """Reads the latent, then asks the probe."""

    inverse: Inverse
    inner: Attack
    gradient_steps: int
    flags: frozenset[str]

    def guess(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """The probe's scores on the latent that was read."""
        return self.inner.guess(self.inverse(release))


@ADVERSARIES.register(
    "mask-latent",
    goals=("mask",),
    variants=(
        {"recovery": "learned", "probe": "linear"},
        {"recovery": "learned", "probe": "mlp"},
        {"recovery": "optimized", "probe": "mlp"},
    ),
    order=10,
)
@dataclass(frozen=True, kw_only=True)
class MaskLatent(Adversary):
    """A probe on the masked latent, which is read off the release with the help of the known decoder and mask.

    Knows: the defense's encoder, decoder and mask; images of its own; labelled releases.
    Does: pushes its own images through encoder and mask, disturbs those latents within the mask, decodes them, and
    learns to read them back (`learned`); `optimized` goes on from there for every release by steps through the
    decoder, and keeps the iterate whose decoded release is nearest. Then a probe on what was read.

    Args:
        recovery: `learned` or `optimized`.
        probe: `linear` or `mlp`.
        options: settings of the probe.
        copies: disturbed latents for each of its own images.
        disturbance: size of the disturbance, in deviations of each unit.
        width: hidden units of the network that reads latents.
        steps: optimizer steps of that network.
        iterations: steps through the decoder of `optimized`.
        times: factor on all steps, the probe's included.
    """

    level: ClassVar[Level] = "L4"

    recovery: Literal["learned", "optimized"] = "learned"
    probe: Literal["linear", "mlp"] = "linear"
    options: Mapping[str, Any] = field(default_factory=dict)
    copies: int = 4
    disturbance: float = 0.5
    width: int = 256
    steps: int = 400
    iterations: int = 15
    times: int = 1

    def fit(self, view: Knowledge, generator: torch.Generator) -> LatentAttack:
        """Learn to read latents, then fit the probe."""
        inverse = self.inverse(view, generator)
        inner = self.inner().fit(ReadView(view, inverse), generator)
        return LatentAttack(
            inverse=inverse, inner=inner, gradient_steps=inverse.trained + inner.gradient_steps, flags=inner.flags
        )

    def inverse(self, view: Knowledge, generator: torch.Generator) -> Inverse:
        """The map from releases to masked latents.

        Raises:
            NotApplicableError: the defense has no mask, or does not show its encoder and decoder.
        """
        images = view.images[0]
        latent = open_latent(view.defense, images)
        _, kept = latent.published(images, generator)
        z = latent.encode(images)
        spread = self.disturbance * z.std(0, correction=0)
        noise = [torch.randn(z.shape, generator=generator).to(z) * spread for _ in range(self.copies)]
        rows = torch.cat([z * kept, *((z + each) * kept for each in noise)])
        return fit_inverse(
            rows,
            latent.decode,
            generator,
            width=self.width,
            training=self.steps * self.times,
            steps=self.iterations * self.times if self.recovery == "optimized" else 0,
        )

    def inner(self) -> Adversary:
        """The probe."""
        inner: Adversary = ADVERSARIES.get(self.probe)(**self.options)
        return inner if self.times == 1 else inner.doubled() or inner

    def doubled(self) -> MaskLatent:
        """The same with twice the steps."""
        return replace(self, times=2 * self.times)
