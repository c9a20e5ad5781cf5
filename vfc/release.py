"""What a defense publishes, and what was seen of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

_BLOCK = 4096


def tensor_digest(*tensors: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of some tensors, as hexadecimal text."""
    total = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        total.update(f"{array.dtype}{tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Release:
    """A batch of published values.

    Args:
        values: shape (n, ...), any float or integer type; row i stands for image i.
        mask: which units were kept, shape (units,) for a global mask or (n, units); None without a mask.
        bounds: the range that the defense promises, or None when it promises none.
    """

    values: Shaped[Tensor, "n ..."]
    mask: Tensor | None = None
    bounds: tuple[float, float] | None = None

    @property
    def digest(self) -> str:
        """Content hash of the values."""
        return tensor_digest(self.values)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen of a release, beside what the defense declares.

    Args:
        digest: of the targets' releases.
        shape, dtype: of one release.
        declared_bounds, bounds: promised and seen range; None without a promise, or without finite numbers.
        declared_stochastic, stochastic: whether two releases of one image differ; seen is None where nobody could look.
        call_dependent: whether a release depends on the call in which it was published; None where nobody could look.
        first_nonfinite: position of the first row with NaN or infinity, or None.
        health: flags of the release itself; those that are power flags forbid that any gate holds.
    """

    digest: str
    shape: tuple[int, ...]
    dtype: str
    declared_bounds: tuple[float, float] | None
    bounds: tuple[float, float] | None
    declared_stochastic: bool | None
    stochastic: bool | None
    call_dependent: bool | None
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
        call_dependent: bool | None = None,
        image_shaped: bool = False,
    ) -> Observed:
        """Look at published values."""
        bad, bounds = _looked_at(values)
        promised = declared_bounds or ((0.0, 1.0) if image_shaped else None)
        outside = promised is not None and bounds is not None and (bounds[0] < promised[0] or bounds[1] > promised[1])
        flags = {
            "RANDOM_RELEASE": bool(stochastic),
            "CALL_DEPENDENT": bool(call_dependent),
            "NONFINITE_RELEASE": len(bad) > 0,
            "MOSTLY_NONFINITE_RELEASE": 2 * len(bad) > len(values),
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
            call_dependent=call_dependent,
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
            "call_dependent": self.call_dependent,
            "first_nonfinite": self.first_nonfinite,
            "health": list(self.health),
        }


def _looked_at(values: Shaped[Tensor, "n ..."]) -> tuple[Tensor, tuple[float, float] | None]:
    """Rows with NaN or infinity, and the range of what is finite; block by block, because a release may be large."""
    bad, ranges = [], []
    for block in torch.split(values, _BLOCK):
        numbers = block.double().reshape(len(block), -1)
        finite = torch.isfinite(numbers)
        bad.append(~finite.all(1))
        if len(seen := numbers[finite]):
            ranges.append((float(seen.min()), float(seen.max())))
    bounds = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
    return torch.nonzero(torch.cat(bad)).flatten(), bounds


def _listed(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 6) for bound in bounds]
