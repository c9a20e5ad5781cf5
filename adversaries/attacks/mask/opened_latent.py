"""The latent behind a masked release, for white-box attackers, and the network that finds it again.

Axes: n images or releases, d latent units in a row, D values of one release. z is the latent before the mask, m the
mask (1 kept, 0 dropped), r = decode(m * z) the release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from adversaries.knowledge import Knowledge
from adversaries.learning.kernels import Columns, flat
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.seeding import seeded
from vfc.training import batch_indices

_CHUNK = 512
_FAR = 10.0


@dataclass(frozen=True, kw_only=True)
class Latent:
    """A defense's encoder, decoder and mask, in eval mode and in one form for all defenses.

    Args:
        defense: what publishes.
        encoder: images to latents, or to a tuple whose first part they are.
        decoder: masked latents to releases.
        shape: of one latent.
        per_image: whether masks differ between images.
    """

    defense: Defense
    encoder: nn.Module
    decoder: nn.Module
    shape: tuple[int, ...]
    per_image: bool

    @property
    def units(self) -> int:
        """Number d of latent units."""
        return torch.Size(self.shape).numel()

    @torch.no_grad()
    def encode(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Latents before the mask; of a random latent the mean."""
        return torch.cat([_latent(self.encoder, rows).flatten(1).float() for rows in torch.split(images, _CHUNK)])

    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n ..."]:
        """Releases of masked latents; differentiable."""
        values: Tensor = self.decoder(z.reshape(-1, *self.shape))
        return values.float()

    @torch.no_grad()
    def published(
        self, images: Float[Tensor, "n c h w"], generator: torch.Generator
    ) -> tuple[Shaped[Tensor, "n ..."], Bool[Tensor, "n d"]]:
        """Releases of some images, and the mask of each."""
        values, masks = [], []
        for rows in torch.split(images, _CHUNK):
            release = self.defense.publish(rows, generator)
            values.append(release.values)
            masks.append(spread_mask(release.mask, len(rows), self.shape))
        return torch.cat(values), torch.cat(masks)


@torch.no_grad()
def open_latent(defense: Defense, images: Float[Tensor, "n c h w"]) -> Latent:
    """Look inside a defense.

    Args:
        defense: fitted; either its `fitted` network or itself has an `encoder` and a `decoder`, and what it publishes
            names its mask.
        images: a few images to try it on.

    Raises:
        NotApplicableError: it has no mask, its mask drops nothing, or no latent that such a mask belongs to.
    """
    some = images[:16]
    release = defense.publish(some, torch.Generator().manual_seed(0))
    mask = release.mask
    if mask is None:
        raise NotApplicableError("the defense has no mask and no filter")
    inside = getattr(defense, "fitted", None) or defense
    encoder, decoder = getattr(inside, "encoder", None), getattr(inside, "decoder", None)
    if not isinstance(encoder, nn.Module) or not isinstance(decoder, nn.Module):
        raise NotApplicableError("the defense does not show its encoder and its decoder")
    encoder, decoder = encoder.eval(), decoder.eval()
    z = _latent(encoder, some)
    shape = tuple(z.shape[1:])
    kept = spread_mask(mask, len(some), shape)
    if bool(kept.all()):
        raise NotApplicableError("the mask drops nothing")
    again = decoder((z.flatten(1) * kept).reshape(-1, *shape))
    if again.shape != release.values.shape:
        raise NotApplicableError("the decoder, given the masked latent, does not make the release")
    scale = float(release.values.double().abs().max()) or 1.0
    apart = float((again.double() - release.values.double()).nan_to_num().abs().max())
    if not defense.stochastic and apart > 1e-3 * scale:
        raise NotApplicableError("the decoder, given the masked latent, does not make the release")
    return Latent(defense=defense, encoder=encoder, decoder=decoder, shape=shape, per_image=mask.ndim > 1)


def spread_mask(mask: Tensor | None, rows: int, shape: tuple[int, ...]) -> Bool[Tensor, "n d"]:
    """A mask over units or over channels as one bit per image and latent unit.

    Raises:
        NotApplicableError: it fits neither the units nor the channels of a latent of that shape.
    """
    if mask is None:
        raise NotApplicableError("the defense has no mask and no filter")
    bits = (mask if mask.ndim > 1 else mask[None]).flatten(1) != 0
    units = torch.Size(shape).numel()
    if bits.shape[1] == shape[0] != units:
        bits = bits.repeat_interleave(units // shape[0], dim=1)
    if bits.shape[1] != units:
        raise NotApplicableError(f"a mask of {bits.shape[1]} units does not fit a latent of shape {shape}")
    return bits.expand(rows, -1)


def _latent(encoder: nn.Module, images: Tensor) -> Tensor:
    found = encoder(images)
    z = found[0] if isinstance(found, tuple) else found
    if not isinstance(z, Tensor) or z.ndim < 2 or len(z) != len(images):
        raise NotApplicableError("the encoder does not give one latent per image")
    return z


@dataclass(frozen=True, kw_only=True)
class Inverse:
    """A fitted map from releases to masked latents: a network, and then steps through the decoder if wanted.

    Args:
        net: standardized release to standardized latent.
        columns: standardization of releases.
        mean, deviation: of the latents; deviation 0 for units that are always 0.
        decode: masked latents to releases.
        steps: optimizer steps through the decoder; 0 for none.
        lr: of those, in deviations of the latent.
        trained: optimizer steps that the network took.
    """

    net: nn.Module
    columns: Columns
    mean: Float[Tensor, " d"]
    deviation: Float[Tensor, " d"]
    decode: Callable[[Tensor], Tensor]
    steps: int
    lr: float
    trained: int

    def __call__(self, release: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """Masked latents of some releases; each row stands alone."""
        pieces = []
        for rows in torch.split(release, _CHUNK):
            with torch.no_grad():
                z = self.net(self.columns(flat(rows)).clamp(-_FAR, _FAR))
            pieces.append((self._polished(rows, z) if self.steps else z) * self.deviation + self.mean)
        return torch.cat(pieces).detach()

    def _polished(self, release: Tensor, start: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Latents whose decoded release is nearest; of every row the iterate with the smallest error of its own."""
        aim = self.columns(flat(release))
        z = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([z], lr=self.lr)
        best, least = start.clone(), torch.full((len(start),), torch.inf, device=start.device)
        with torch.enable_grad():
            for step in range(self.steps + 1):
                made = self.columns(self.decode(z * self.deviation + self.mean).flatten(1))
                error = (made - aim).square().mean(1)
                better = error.detach() < least
                best[better], least[better] = z.detach()[better], error.detach()[better]
                if step < self.steps:
                    (z.grad,) = torch.autograd.grad(error.sum(), z)
                    optimizer.step()
        return best


def fit_inverse(
    z: Float[Tensor, "n d"],
    decode: Callable[[Tensor], Tensor],
    generator: torch.Generator,
    *,
    width: int,
    training: int,
    steps: int,
    lr: float = 0.05,
    batch: int = 128,
) -> Inverse:
    """Learn to read masked latents off releases, from latents that anybody with the decoder can decode.

    Args:
        z: masked latents to train on.
        decode: masked latents to releases.
        generator: weights and batches.
        width: units of the hidden layer.
        training: optimizer steps of the network.
        steps: optimizer steps through the decoder for every release that is read.
        lr: of those.
        batch: latents per training step.
    """
    with torch.no_grad():
        release = torch.cat([flat(decode(rows)) for rows in torch.split(z, _CHUNK)])
    columns = Columns.fit(release)
    mean, deviation = z.mean(0), z.std(0, correction=0)
    aim = (z - mean) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    x = columns(release).clamp(-_FAR, _FAR)
    net = seeded(lambda: _Skip(x.shape[1], width, z.shape[1]), generator).to(z.device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=training + 1, pct_start=0.1, cycle_momentum=False
    )
    with torch.enable_grad():
        for rows in batch_indices(len(x), batch, training, generator):
            loss = nn.functional.mse_loss(net(x[rows]), aim[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
    net.eval().requires_grad_(False)
    return Inverse(
        net=net, columns=columns, mean=mean, deviation=deviation, decode=decode, steps=steps, lr=lr, trained=training
    )


class _Skip(nn.Module):
    """One linear map, and a network with one hidden layer beside it."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.bent = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, outputs))

    def forward(self, x: Float[Tensor, "n D"]) -> Float[Tensor, "n d"]:
        """Standardized latents."""
        total: Tensor = self.straight(x) + self.bent(x)
        return total


class ReadView(Knowledge):
    """What another view grants, every release replaced by what was read off it.

    Args:
        view: the view to read.
        read: releases to what is read, one row each.
        extra: further labelled rows of the attacker's own, as they would have been read; None for none.
    """

    def __init__(
        self,
        view: Knowledge,
        read: Callable[[Tensor], Tensor] = lambda release: release,
        extra: tuple[Shaped[Tensor, "m ..."], Int[Tensor, " m"]] | None = None,
    ) -> None:
        world = view._world
        world = replace(world, train=replace(world.train, release=read(world.train.release)))
        super().__init__(world, view.threat, view.label, predictions=view._predictions, defense=view._defense)
        self._extra = extra

    @property
    def labelled(self) -> tuple[Shaped[Tensor, "m ..."], Int[Tensor, " m"]]:
        """What is read off the labelled releases, and the attacker's further rows."""
        read, y = super().labelled
        if self._extra is None:
            return read, y
        return torch.cat([read, self._extra[0].to(read)]), torch.cat([y, self._extra[1].to(y)])
