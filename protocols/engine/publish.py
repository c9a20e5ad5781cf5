"""Publishing every part through a defense, and watching what the release does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.attacks.label.frozen.picture import Picture
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.release import Observed, Release
from vfc.seeding import derive_seed
from vfc.wrapper import check_values, defender_call

_CHUNK = 512
_PROBE = 16


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """A fitted defense with its randomness fixed.

    Args:
        defense: what publishes.
        classes: number of task classes, which the intended use must tell apart.
        seed: the run's seed; every part has a stream of its own.
        device: where to compute.
    """

    defense: Defense
    classes: int
    seed: int
    device: str

    @torch.no_grad()
    def publish(self, images: Float[Tensor, "n c h w"], stream: str) -> Shaped[Tensor, "n ..."]:
        """Releases of some images, on the CPU.

        Raises:
            UserError: the defense published something else than one row per image.
        """
        generator = torch.Generator().manual_seed(derive_seed("publish", stream, self.seed))
        pieces = [self._release(chunk, generator).values.cpu() for chunk in torch.split(images, _CHUNK)]
        if len({piece.shape[1:] for piece in pieces}) > 1:
            raise UserError("expected releases of one shape, got different ones", "publish equal shapes")
        return torch.cat(pieces)

    @torch.no_grad()
    def predicted(self, release: Shaped[Tensor, "n ..."]) -> Int[Tensor, " n"] | None:
        """Classes that the intended use predicts; None without one."""
        pieces = []
        for chunk in torch.split(release, _CHUNK):
            logits = defender_call(self.defense, partial(self.defense.predict, chunk.to(self.device)))
            if logits is None:
                return None
            if not isinstance(logits, Tensor):
                raise UserError(
                    f"expected a tensor from predict, got {type(logits).__name__}", "return logits, one row per release"
                )
            if logits.shape != (len(chunk), self.classes):
                raise UserError(
                    f"expected the target's logits in shape {(len(chunk), self.classes)}, got {tuple(logits.shape)}",
                    "let predict or target return one column per class",
                )
            unusable = ~torch.isfinite(logits).all(1)
            if bool(unusable.any()) and bool(torch.isfinite(chunk.double()).all()):
                raise UserError("expected finite logits from the target, got NaN or infinity", "correct the target")
            # On a release that is not finite itself the target may fail: then it is wrong, and nothing else.
            pieces.append(logits.nan_to_num().argmax(1).cpu())
        return torch.cat(pieces)

    @torch.no_grad()
    def observe(self, images: Float[Tensor, "n c h w"], values: Shaped[Tensor, "n ..."]) -> Observed:
        """Publish a few images again, with another seed and one by one, and compare."""
        some = images[:_PROBE]
        first, second = (
            self._release(some, torch.Generator().manual_seed(derive_seed("observe", turn, self.seed)))
            for turn in (1, 2)
        )
        a, b = first.values.cpu(), second.values.cpu()
        stochastic = not torch.equal(
            a.nan_to_num() if a.is_floating_point() else a, b.nan_to_num() if b.is_floating_point() else b
        )
        batch_dependent = None
        if not stochastic:
            generator = torch.Generator().manual_seed(derive_seed("observe", 1, self.seed))
            alone = torch.cat([self._release(image[None], generator).values.cpu() for image in some])
            scale = float(a.double().nan_to_num(posinf=0, neginf=0).abs().max()) or 1.0
            apart = (alone.double() - a.double()).nan_to_num(posinf=0, neginf=0).abs().max()
            # Sums in another order differ in the last digits; that is not what is meant.
            batch_dependent = bool(float(apart) > 1e-3 * scale) if math.isfinite(scale) else None
        return Observed.of_values(
            values,
            declared_bounds=first.bounds,
            declared_stochastic=bool(self.defense.stochastic),
            stochastic=stochastic,
            batch_dependent=batch_dependent,
            image_shaped=values.shape == images.shape and values.is_floating_point(),
        )

    def _release(self, images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Release:
        release = defender_call(self.defense, lambda: self.defense.publish(images.to(self.device), generator))
        if not isinstance(release, Release):
            raise UserError(f"expected a vfc Release from publish, got {type(release).__name__}", "return one")
        values = defender_call(self.defense, lambda: check_values(release.values, len(images), "the defense"))
        return replace(release, values=values)


def picture_of(
    release: Float[Tensor, "n c h w"], form: str, pool: Float[Tensor, "m c h w"]
) -> Float[Tensor, "n c h w"]:
    """Releases made real pictures: clipped, or rescaled by the range of the pool's releases; 8 bit."""
    picture = Picture(low=0.0, high=1.0) if form == "clip" else Picture.rescaling(pool)
    return picture(release)
