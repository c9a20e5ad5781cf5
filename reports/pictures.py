"""Pictures of the sidecar's arrays as PNG in data URIs: the reconstruction gallery and mask maps.

Arrays that a page looks for, all of them optional:

| key | shape | holds |
|---|---|---|
| `gallery/original` | (n, c, h, w) | images in [0, 1], or uint8 |
| `gallery/release` | (n, c, h, w) or (n, d) | their releases; drawn from their smallest to their largest number |
| `gallery/reconstruction` | (n, c, h, w) | the best reconstructions, in [0, 1] or uint8 |
| `gallery/psnr`, `gallery/ssim` | (n,) | of each reconstruction; dB, and in [-1, 1] |
| `gallery/rank` | (n,) | place of the own original among a gallery's, nearest first; 1 is found |
| `gallery/target` | (n,) | index of each target |
| `mask/kept` | (h, w), (c, h, w) or (d,) | whether, or how often, each latent number is kept, in [0, 1] |

Images have 1 or 3 channels; of others the mean is drawn. Numbers that are not finite are drawn black.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST = 12
"""So many leaks, and channels of a mask, are shown at most."""

SIDE = 96
"""Larger pictures are thinned to at most this many pixels a side."""

_PARTS = ("original", "release", "reconstruction")


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One image beside its release and what an attacker makes of that.

    Args:
        target: index of the target.
        pictures: data URIs by `original`, `release`, `reconstruction`; a missing one is left out.
        psnr, ssim, rank: how good the reconstruction is; None if unknown.
    """

    target: int
    pictures: dict[str, str]
    psnr: float | None
    ssim: float | None
    rank: int | None


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


def gallery(rows: Mapping[str, Any]) -> list[Leak]:
    """The worst leaks first: by rank, then by PSNR; without both, as they are stored.

    Args:
        rows: the sidecar's arrays. Those whose length differs from the reconstructions' are not used.
    """
    best = rows.get("gallery/reconstruction")
    if best is None or best.ndim != 4 or 0 in best.shape:
        return []
    count = len(best)
    arrays = {part: rows[f"gallery/{part}"] for part in _PARTS if _fits(rows.get(f"gallery/{part}"), count)}
    numbers = {
        name: [_finite(entry) for entry in rows[key]]
        for name in ("psnr", "ssim", "rank", "target")
        if _fits(rows.get(key := f"gallery/{name}"), count) and rows[key].ndim == 1
    }
    unknown: list[float | None] = [None] * count
    ranks, quality = numbers.get("rank", unknown), numbers.get("psnr", unknown)

    def worst(index: int) -> tuple[float, float, int]:
        rank, psnr = ranks[index], quality[index]
        return math.inf if rank is None else rank, math.inf if psnr is None else -psnr, index

    found = []
    for index in sorted(range(count), key=worst)[:MOST]:
        target = numbers.get("target", unknown)[index]
        rank = ranks[index]
        found.append(
            Leak(
                target=index if target is None else int(target),
                pictures={part: _uri(_flat(array[index], part == "release")) for part, array in arrays.items()},
                psnr=quality[index],
                ssim=numbers.get("ssim", unknown)[index],
                rank=None if rank is None else int(rank),
            )
        )
    return found


def mask(rows: Mapping[str, Any]) -> tuple[list[str], float, int] | None:
    """The mask map: a picture per channel, the share that is kept, and the number of latent numbers; None without."""
    kept = rows.get("mask/kept")
    if kept is None or kept.ndim not in (1, 2, 3) or 0 in kept.shape:
        return None
    import numpy as np

    shares = np.clip(np.nan_to_num(kept.astype(np.float64)), 0.0, 1.0)
    channels = _square(shares, 0.0) if shares.ndim == 1 else shares
    channels = channels.reshape(-1, *channels.shape[-2:])
    pictures = [_uri(np.rint(255 * channel).astype(np.uint8)) for channel in channels[:MOST]]
    return pictures, float(shares.mean()), int(shares.size)


def _fits(array: Any, count: int) -> bool:
    return array is not None and array.ndim in (1, 2, 4) and len(array) == count and 0 not in array.shape


def _finite(entry: Any) -> float | None:
    number = float(entry)
    return number if math.isfinite(number) else None


def _flat(image: np.ndarray[Any, Any], stretch: bool) -> np.ndarray[Any, Any]:
    """An image or a vector as uint8 pixels, gray or color."""
    import numpy as np

    numbers = image.astype(np.float64) / (255.0 if image.dtype == np.uint8 else 1.0)
    if stretch:
        seen = numbers[np.isfinite(numbers)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        numbers = (numbers - low) / ((high - low) or 1.0)
    numbers = np.clip(np.nan_to_num(numbers, nan=0.0, posinf=0.0, neginf=0.0), 0.0, 1.0)
    if numbers.ndim < 3:
        numbers = _square(numbers.reshape(-1), 0.0)[None]
    if len(numbers) not in (1, 3):
        numbers = numbers.mean(axis=0, keepdims=True)
    step = max(1, math.ceil(max(numbers.shape[1:]) / SIDE))
    pixels = np.rint(255 * numbers[:, ::step, ::step]).astype(np.uint8)
    return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))


def _square(vector: np.ndarray[Any, Any], filler: float) -> np.ndarray[Any, Any]:
    """A vector in rows, nearly as many as columns."""
    import numpy as np

    side = math.ceil(math.sqrt(vector.size))
    lines = math.ceil(vector.size / side)
    return np.concatenate([vector, np.full(lines * side - vector.size, filler)]).reshape(lines, side)


def _uri(pixels: np.ndarray[Any, Any]) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
