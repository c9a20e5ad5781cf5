"""Image files as arrays of one size: what is damaged, of another size or too much for the memory is said."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vfc.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDES = range(8, 65)
"""Pixels per side that the models of the zoo read."""


def side_of(name: str, argument: str, usual: int) -> int:
    """The pixels per side that `name:SIDE` asks for, 8 to 64; `usual` without an argument; raises `UserError`."""
    if not argument:
        return usual
    side = int(argument) if argument.isascii() and argument.isdigit() and len(argument) < 4 else 0
    if side not in _SIDES:
        raise UserError(
            f"expected {name}:SIDE with {_SIDES[0]} to {_SIDES[-1]} pixels, got {name}:{argument[:20]}",
            f"write {name}:32, or {name} for {usual}",
        )
    return side


def expect_memory(name: str, count: int, side: int) -> None:
    """Refuse what this machine cannot hold, before an hour of reading: 4 bytes a number, three numbers a pixel.

    Args:
        name: of the data set.
        count: images of both parts.
        side: pixels per side.

    Raises:
        UserError: the pixels alone take more than the memory of this machine.
    """
    needed, there = 12 * count * side**2, _memory()
    if there is not None and needed > there:
        smaller = max((side // 2, _SIDES[0]))
        raise UserError(
            f"expected {needed / 1e9:.3g} GB of memory for {count} images of {side} pixels, got {there / 1e9:.3g} GB",
            f"write {name}:{smaller} for smaller images, or use a larger machine",
        )


def _memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


@contextlib.contextmanager
def readable(file: Path, fix: str = "remove or replace it") -> Iterator[None]:
    """Turn what is raised for a file that is missing, cut or no image into a `UserError` that names it."""
    try:
        yield
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{file.name} cannot be read as an image ({error})", fix) from error


def scaled(image: Image, side: int) -> npt.NDArray[np.uint8]:
    """An RGB image scaled to a square, whatever its proportions (bilinear, averaging what it leaves out).

    Returns:
        Shape (side, side, 3).
    """
    from PIL.Image import Resampling

    if image.size != (side, side):
        image = image.resize((side, side), Resampling.BILINEAR)
    return np.asarray(image)
