"""Pixels: images made small enough to show, and PNG files of them."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
"""(h, w) in gray or (h, w, 3) in color."""

SIDE = 64
"""Larger pictures are averaged down to at most this many pixels a side."""


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


def in_rows(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A vector in rows, nearly as many as columns; what is missing from the last row is False."""
    import numpy as np

    side = math.ceil(math.sqrt(vector.size))
    lines = math.ceil(vector.size / side)
    return np.concatenate([vector, np.zeros(lines * side - vector.size, dtype=bool)]).reshape(lines, side)


def pixels_of(image: np.ndarray[Any, Any]) -> Pixels:
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
