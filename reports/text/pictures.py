"""What the sidecar holds for people: the reconstruction gallery, mask maps, spectra and ROC curves.

Keys that are looked for, all of them optional:

| key | shape | holds |
|---|---|---|
| `gallery/original` | (m, c, h, w) | images in [0, 1], or uint8 |
| `gallery/release` | (m, c, h, w) | their releases, rescaled to [0, 1]; none where a release is no image |
| `gallery/reconstruction` | (m, c, h, w) | the best reconstructions |
| `gallery/psnr`, `gallery/ssim` | (m,) | of each reconstruction; dB, and in [-1, 1] |
| `gallery/rank` | (m,) | place of the own original among a gallery's, nearest first; 1 is found |
| `mask/bits` | (d,), (h, w) or (c, h, w) | which latent numbers are kept: 0 or 1 |
| `spectra/<layer>` | (k,) | mean singular values of a layer's Jacobian, at least 0 |
| `roc/<adversary>/fpr`, `roc/<adversary>/tpr` | (m,) | an ROC curve, false positive rates ascending |

Images have 1 or 3 channels; of others the mean is drawn. Numbers that are not finite are drawn black.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
"""(h, w) in gray or (h, w, 3) in color."""

MOST = 16
"""So many leaks, and channels of a mask, are shown at most."""

SIDE = 64
"""Larger pictures are averaged down to at most this many pixels a side."""

PARTS = ("original", "release", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One image beside its release and what an attacker makes of that.

    Args:
        pictures: uint8 pixels, (h, w) or (h, w, 3), by `original`, `release`, `reconstruction`; those at hand.
        psnr, ssim, rank: how good the reconstruction is; None if unknown.
    """

    pictures: dict[str, Pixels]
    psnr: float | None
    ssim: float | None
    rank: int | None

    @property
    def words(self) -> str:
        """How good the reconstruction is; empty if nothing is known."""
        parts = [] if self.psnr is None else [f"{self.psnr:.1f} dB"]
        parts += [] if self.ssim is None else [f"SSIM {self.ssim:.3f}"]
        if self.rank is not None:
            found = "found: nearest to its own original"
            parts.append(found if self.rank <= 1 else f"its original is number {self.rank}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which latent numbers are kept.

    Args:
        channels: uint8 pixels of each channel, 255 for kept.
        kept: share that is kept, in [0, 1].
        size: how many numbers the latent has.
    """

    channels: tuple[Pixels, ...]
    kept: float
    size: int


def gallery(rows: Mapping[str, Any]) -> list[Leak]:
    """The worst leaks first: by rank, then by PSNR; without both, as they are stored.

    Args:
        rows: the sidecar's arrays. Those whose length differs from the reconstructions' are not used.
    """
    best = rows.get("gallery/reconstruction")
    if best is None or best.ndim != 4 or 0 in best.shape:
        return []
    count = len(best)
    arrays = {part: rows[f"gallery/{part}"] for part in PARTS if _fits(rows.get(f"gallery/{part}"), count, 4)}
    numbers: dict[str, list[float | None]] = {}
    for name in ("psnr", "ssim", "rank"):
        fits = _fits(rows.get(f"gallery/{name}"), count, 1)
        numbers[name] = [_finite(entry) for entry in rows[f"gallery/{name}"]] if fits else [None] * count
    ranks, quality = numbers["rank"], numbers["psnr"]

    def worst(index: int) -> tuple[float, float, int]:
        rank, psnr = ranks[index], quality[index]
        return math.inf if rank is None else rank, math.inf if psnr is None else -psnr, index

    return [
        Leak(
            pictures={part: _pixels(array[index]) for part, array in arrays.items()},
            psnr=quality[index],
            ssim=numbers["ssim"][index],
            rank=None if (rank := ranks[index]) is None else int(rank),
        )
        for index in sorted(range(count), key=worst)[:MOST]
    ]


def mask(rows: Mapping[str, Any]) -> Mask | None:
    """The mask; None without one."""
    bits = rows.get("mask/bits")
    if bits is None or bits.ndim not in (1, 2, 3) or 0 in bits.shape:
        return None
    import numpy as np

    kept = np.nan_to_num(bits.astype(np.float64)) > 0
    channels = _square(kept) if kept.ndim == 1 else kept
    channels = 255 * channels.reshape(-1, *channels.shape[-2:])[:MOST].astype(np.uint8)
    return Mask(channels=tuple(channels), kept=float(kept.mean()), size=int(kept.size))


def spectra(rows: Mapping[str, Any]) -> dict[str, list[float]]:
    """Singular values by layer."""
    return {key.removeprefix("spectra/"): _numbers(rows[key]) for key in sorted(rows) if key.startswith("spectra/")}


def rocs(rows: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """False and true positive rates by adversary; curves without points or with half of their points are left out."""
    found = {}
    for key in sorted(rows):
        if key.startswith("roc/") and key.endswith("/fpr"):
            false, true = _numbers(rows[key]), _numbers(rows.get(f"{key[:-4]}/tpr", ()))
            if false and len(false) == len(true):
                found[key[4:-4]] = (false, true)
    return found


def drawn(rows: Mapping[str, Any]) -> frozenset[str]:
    """Protocols of which there is something to draw."""
    made = {
        "inversion": gallery(rows), "mask-aware": mask(rows), "leakage": spectra(rows), "membership": rocs(rows),
    }  # fmt: skip
    return frozenset(protocol for protocol, parts in made.items() if parts)


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels averaged down, or repeated, to another size."""
    import numpy as np

    numbers = pixels.astype(np.float64)
    for axis, size in enumerate((height, width)):
        edges = np.arange(size) * numbers.shape[axis] // size
        if size < numbers.shape[axis]:
            counts = np.diff(edges, append=numbers.shape[axis]).reshape(-1, *[1] * (numbers.ndim - axis - 1))
            numbers = np.add.reduceat(numbers, edges, axis=axis) / counts
        else:
            numbers = np.take(numbers, edges, axis=axis)
    return np.rint(numbers).astype(np.uint8)


def uri(pixels: Pixels) -> str:
    """A PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    """A PNG file.

    Args:
        pixels: uint8, (h, w) for gray or (h, w, 3) for color.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def _fits(array: Any, count: int, axes: int) -> bool:
    return array is not None and array.ndim == axes and len(array) == count and 0 not in array.shape


def _finite(entry: Any) -> float | None:
    number = float(entry)
    return number if math.isfinite(number) else None


def _numbers(array: Any) -> list[float]:
    """The finite numbers of an array, whatever its shape."""
    import numpy as np

    return [float(entry) for entry in np.asarray(array, dtype=np.float64).reshape(-1) if math.isfinite(entry)]


def _pixels(image: np.ndarray[Any, Any]) -> Pixels:
    """An image as uint8 pixels, gray or color, at most SIDE a side."""
    import numpy as np

    numbers = image.astype(np.float64) / (255.0 if image.dtype == np.uint8 else 1.0)
    numbers = np.clip(np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    if len(numbers) not in (1, 3):
        numbers = numbers.mean(axis=0, keepdims=True)
    pixels = np.rint(255 * numbers).astype(np.uint8).transpose(1, 2, 0)
    pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    height, width = pixels.shape[:2]
    shrink = max(1.0, max(height, width) / SIDE)
    return resized(pixels, max(1, round(height / shrink)), max(1, round(width / shrink)))


def _square(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A vector in rows, nearly as many as columns; what is missing from the last row is False."""
    import numpy as np

    side = math.ceil(math.sqrt(vector.size))
    lines = math.ceil(vector.size / side)
    return np.concatenate([vector, np.zeros(lines * side - vector.size, dtype=bool)]).reshape(lines, side)
