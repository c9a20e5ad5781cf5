"""Pictures with characters: reconstructions beside their originals, and mask maps.

With colors a character holds two pixels, one above the other; without, one of RAMP by brightness, so that nothing is
lost when the report is piped.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.color import Color
from rich.style import Style
from rich.text import Text

from reports.model.pictures import PARTS, Leak, Mask
from reports.model.pixels import Pixels, resized

WIDEST = 24
"""Columns of one picture at most."""

CAPTION = max(map(len, PARTS))
"""Columns of one picture at least, so that its caption fits."""

GAP = 2
MOST = 4
"""Leaks that are drawn at most."""

RAMP = ".:-=+*#%@"
"""From black to white."""


def draw(leaks: Sequence[Leak], *, width: int, color: bool) -> list[Text]:
    """The first leaks, line by line, none longer than `width`; their numbers alone where there is no room.

    Args:
        leaks: the worst first.
        width: columns at hand.
        color: whether the console shows colors.
    """
    blocks = [_block(place, leak, width, color) for place, leak in enumerate(leaks[:MOST], start=1)]
    lines: list[Text] = []
    beside = max(1, (width + GAP) // (max((_wide(block) for block in blocks), default=1) + GAP))
    for start in range(0, len(blocks), beside):
        row = blocks[start : start + beside]
        for position in range(max(map(len, row))):
            line = Text()
            for place, block in enumerate(row):
                line.append_text(block[position].copy() if position < len(block) else Text())
                if place < len(row) - 1:
                    line.append(" " * (_wide(block) + GAP - (block[position].cell_len if position < len(block) else 0)))
            lines.append(line)
    return lines


def mask_map(mask: Mask, *, width: int, plain: bool) -> list[Text]:
    """The mask's channels below each other, one character per latent number as far as there is room."""
    kept, dropped = ("#", ".") if plain else ("█", "·")
    lines = []
    for channel in mask.channels:
        height, wide = channel.shape
        shown = resized(channel, height, wide) if wide <= width else resized(channel, height, width)
        lines += [Text("".join(kept if pixel > 127 else dropped for pixel in row)) for row in shown]
    return lines


def _block(place: int, leak: Leak, width: int, color: bool) -> list[Text]:
    """One leak: its numbers, captions, and its pictures side by side."""
    title = Text(f"{place}  {leak.quality or 'quality unknown'}", "bold")
    title.truncate(width, overflow="ellipsis")
    parts = [part for part in PARTS if part in leak.pictures]
    room = (width + GAP) // len(parts) - GAP
    if room < CAPTION:
        return [title]
    slot = min(room, WIDEST)
    drawings = [_picture(leak.pictures[part], slot, color) for part in parts]
    slot = max(CAPTION, *(drawing[0].cell_len for drawing in drawings))
    lines = [title, _beside([Text(part, "dim") for part in parts], slot)]
    lines += [
        _beside([drawing[row] if row < len(drawing) else Text() for drawing in drawings], slot)
        for row in range(max(map(len, drawings)))
    ]
    return [*lines, Text()]


def _beside(parts: Sequence[Text], slot: int) -> Text:
    line = Text()
    for part in parts[:-1]:
        line.append_text(part)
        line.append(" " * (slot + GAP - part.cell_len))
    return line.append_text(parts[-1])


def _picture(pixels: Pixels, room: int, color: bool) -> list[Text]:
    """One picture, at most `room` pixels a side; a pixel is one column wide and half a line high."""
    import numpy as np

    height, width = pixels.shape[:2]
    side = max(height, width)
    scale = room // side if side <= room else room / side
    height, width = max(2, round(height * scale)), max(1, round(width * scale))
    height += height % 2
    shown = resized(pixels, height, width)
    if not color:
        gray = shown if shown.ndim == 2 else shown @ np.array([0.299, 0.587, 0.114])
        levels = (gray[::2] / 2 + gray[1::2] / 2) / 256 * len(RAMP)
        return [Text("".join(RAMP[int(level)] for level in line)) for line in levels]
    colors = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
    lines = []
    for upper, lower in zip(colors[::2].tolist(), colors[1::2].tolist(), strict=True):
        line = Text()
        for above, below in zip(upper, lower, strict=True):
            line.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        lines.append(line)
    return lines


def _wide(block: Sequence[Text]) -> int:
    return max(line.cell_len for line in block)
