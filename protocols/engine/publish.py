"""Publishing every part through a defense, and watching what the release does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from adversaries.attacks.label.frozen.picture import Picture
from vfc.defense import Defense
from vfc.errors import UserError
from vfc.release import Release, tensor_digest
from vfc.seeding import derive_seed
from vfc.wrapper import check_values

_CHUNK = 512
_PROBE = 16


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen of a release, beside what the defense declares.

    Args:
        digest: of the targets' releases.
        shape, dtype: of one release.
        declared_bounds, bounds: promised and seen range; None without a promise, or without finite numbers.
        declared_stochastic, stochastic: whether two releases of one image differ; seen is None where nobody could look.
        batch_dependent: whether a release depends on the images beside it; None where nobody could look.
        first_nonfinite: position of the first row with NaN or infinity, or None.
        health: informing flags.
    """

    digest: str
    shape: tuple[int, ...]
    dtype: str
    declared_bounds: tuple[float, float] | None
    bounds: tuple[float, float] | None
    declared_stochastic: bool | None
    stochastic: bool | None
    batch_dependent: bool | None
    first_nonfinite: int | None
    health: tuple[str, ...]

    @classmethod
    def of_values(
        cls,
        values: Shaped[Tensor, "n ..."],
        *,
        declared_bounds: tuple[float, float] | None = None,
        declared_stochastic: bool | None = None,
        stochastic: bool | None = None,
        batch_dependent: bool | None = None,
        image_shaped: bool = False,
    ) -> Observed:
        """Look at published values."""
        numbers = values.double().reshape(len(values), -1)
        finite = torch.isfinite(numbers)
        bad = torch.nonzero(~finite.all(1)).flatten()
        seen = numbers[finite]
        bounds = (float(seen.min()), float(seen.max())) if len(seen) else None
        promised = declared_bounds or ((0.0, 1.0) if image_shaped else None)
        outside = promised is not None and bounds is not None and (bounds[0] < promised[0] or bounds[1] > promised[1])
        flags = {
            "RANDOM_RELEASE": bool(stochastic),
            "BATCH_DEPENDENT": bool(batch_dependent),
            "NONFINITE_RELEASE": len(bad) > 0,
            "OUT_OF_BOUNDS": outside,
        }
        return cls(
            digest=tensor_digest(values),
            shape=tuple(values.shape[1:]),
            dtype=str(values.dtype).removeprefix("torch."),
            declared_bounds=declared_bounds,
            bounds=bounds,
            declared_stochastic=declared_stochastic,
            stochastic=stochastic,
            batch_dependent=batch_dependent,
            first_nonfinite=int(bad[0]) if len(bad) else None,
            health=tuple(name for name, raised in flags.items() if raised),
        )

    def report(self) -> dict[str, Any]:
        """As the report says it."""
        return {
            "digest": self.digest,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "bounds": {"declared": _listed(self.declared_bounds), "observed": _listed(self.bounds)},
            "stochastic": {"declared": self.declared_stochastic, "observed": self.stochastic},
            "batch_dependent": self.batch_dependent,
            "first_nonfinite": self.first_nonfinite,
            "health": list(self.health),
        }


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
            logits = self.defense.predict(chunk.to(self.device))
            if logits is None:
                return None
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
        release = self.defense.publish(images.to(self.device), generator)
        check_values(release.values, len(images), "the defense")
        return release


def picture_of(
    release: Float[Tensor, "n c h w"], form: str, pool: Float[Tensor, "m c h w"]
) -> Float[Tensor, "n c h w"]:
    """Releases made real pictures: clipped, or rescaled by the range of the pool's releases; 8 bit."""
    picture = Picture(low=0.0, high=1.0) if form == "clip" else Picture.rescaling(pool)
    return picture(release)


def _listed(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 6) for bound in bounds]
