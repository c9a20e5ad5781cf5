"""What a defense publishes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from jaxtyping import Shaped
from torch import Tensor


def tensor_digest(*tensors: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of some tensors, as hexadecimal text."""
    total = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        total.update(f"{array.dtype}{tuple(array.shape)}".encode())
        total.update(array.numpy().tobytes())
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
