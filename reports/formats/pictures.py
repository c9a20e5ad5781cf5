"""The pictures of sections on a terminal, one function a kind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from reports.formats import tables, thumbnails
from reports.formats.curve import draw
from reports.model.pictures import (
    NOTES,
    AccuracyTable,
    CostCurve,
    Gallery,
    Mask,
    Picture,
    RocCurves,
    Spectra,
)


def picture_on_terminal(picture: Picture, *, width: int, plain: bool, color: bool) -> Iterable[RenderableType]:
    """A picture with characters; nothing for those that need finer lines than characters.

    Args:
        picture: what to draw.
        width: of the console.
        plain: ASCII only.
        color: whether the console shows colors.
    """
    match picture:
        case Gallery():
            yield from thumbnails.draw(picture.leaks, width=width, color=color)
            yield Text(picture.order, "dim")
        case Mask():
            yield from thumbnails.mask_map(picture, width=width, plain=plain)
            yield Text(f"{100 * picture.kept:.1f} % of {picture.size:,} latent numbers are kept.", "dim")
        case AccuracyTable():
            if picture.rows:
                yield from spaced(tables.Accuracies(picture, width).tables())
            yield Text(" ".join(picture.notes), "dim" if picture.rows else "")
        case CostCurve():
            yield from _curve(picture, width, plain)
        case Spectra() | RocCurves():
            return
        case _:
            assert_never(picture)


def spaced(parts: Sequence[Table]) -> Iterable[RenderableType]:
    """Tables with an empty line between them."""
    for position, part in enumerate(parts):
        if position:
            yield Text("")
        yield part


def _curve(drawn: CostCurve, width: int, plain: bool) -> Iterable[RenderableType]:
    if not drawn.points:
        yield Text(f"No curve: {drawn.absence}.")
        return
    lines = draw(drawn.points, width=width - 1, floor=drawn.floor, target=drawn.target, note_names=NOTES, plain=plain)
    yield from lines
    if not lines:
        listing = tables.table("K", *NOTES)
        for point in drawn.points:
            listing.add_row(*map(Text, (point.labels, *point.notes)))
        yield listing
    yield Text(
        f"Accuracy of the strongest attack with {drawn.granted} and its interval. "
        "Ratio: accuracy of the target model / that, or / the floor; below 1: other models do better than "
        "the target model.",
        "dim",
    )
