"""A cost curve drawn with characters: accuracy against labelled releases per class."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from reports.model.pictures import CostCurve, Point

ROWS = 17
"""Height of the plot; quarters of accuracy fall on every fourth row."""

LEFT, RIGHT, NARROWEST, WIDEST = 10, 20, 6, 20
"""Columns for the labels on both sides, and for each K."""

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Braille dots by row and column inside one character."""


def draw(
    points: Sequence[Point],
    *,
    width: int,
    floor: float | None = None,
    target: float | None = None,
    note_names: Sequence[str] = (),
    plain: bool = False,
) -> list[Text]:
    """The plot, line by line, none longer than `width`; empty if there is no room for it or nothing to draw.

    Args:
        points: in order of K, equally spaced because neither 0 nor `all` has a place on a logarithmic axis.
        width: columns at hand.
        floor: accuracy without the release.
        target: the target model's accuracy on the release.
        note_names: names of the rows under the axis, up to nine characters each.
        plain: ASCII only.
    """
    slot = min(WIDEST, (width - LEFT - RIGHT) // max(1, len(points)))
    if not points or slot < NARROWEST:
        return []
    canvas = _Canvas(columns=slot * len(points), plain=plain)
    canvas.level(floor, "-" if plain else "┄", "yellow")
    canvas.level(target, "=" if plain else "─", "green")
    columns = [slot * position + slot // 2 for position in range(len(points))]
    for start, end, first, second in zip(columns, columns[1:], points, points[1:], strict=False):
        canvas.line(start, end, first.value, second.value)
    for column, point in zip(columns, points, strict=True):
        canvas.point(column, point)
    lines = canvas.lines(_labels(floor, target))
    axis = "+" if plain else "└"
    lines.append(Text(" " * (LEFT - 2) + axis + ("-" if plain else "─") * canvas.width))
    for name, texts in [
        ("K", [point.labels for point in points]),
        *((name, [point.notes[i] for point in points]) for i, name in enumerate(note_names)),
    ]:
        cells = "".join(text[: slot - 1].center(slot) for text in texts)
        lines.append(Text(f"{name[: LEFT - 1]:<{LEFT - 1}}{cells}".rstrip()))
    return lines


def _labels(floor: float | None, target: float | None) -> dict[int, tuple[str, str]]:
    """What stands at the right of the plot, by row; two labels of one row are put below each other."""
    found: dict[int, tuple[str, str]] = {}
    if target is not None:
        found[_row(target)] = (f"target model {target:.3f}", "green")
    if floor is not None:
        row = _row(floor)
        while row in found:
            row = row + 1 if row < ROWS - 1 and row >= _row(floor) else _row(floor) - 1
        found[row] = (f"floor {floor:.3f}", "yellow")
    return found


def _row(value: float) -> int:
    return round((1 - min(1.0, max(0.0, value))) * (ROWS - 1))


def bars(drawn: CostCurve, *, width: int, plain: bool = False) -> list[Text]:
    """The same in one line for every K, for a first look; empty where there is no room.

    Args:
        drawn: the curve.
        width: columns at hand.
        plain: ASCII only.
    """
    room = min(50, width - 24)
    if room < 10:
        return []
    full, empty = ("#", ".") if plain else ("█", "░")
    lines = [Text(f"{'labels per class':<17}accuracy of the strongest attack", "dim")]
    for point in drawn.points:
        filled = round(room * point.value)
        line = Text(f"{point.labels:>16} ").append(full * filled, "cyan").append(empty * (room - filled), "dim")
        lines.append(line.append(f" {point.value:.3f}", "bold"))
    marks = [("target model", drawn.target), ("without the release", drawn.floor)]
    known = ", ".join(f"{name} {value:.3f}" for name, value in marks if value is not None)
    return [*lines, Text(f"{'':<17}{known}", "dim")] if known else lines


class _Canvas:
    """Characters by row and column; what is drawn later lies on top."""

    def __init__(self, *, columns: int, plain: bool) -> None:
        self.width, self.plain = columns, plain
        self.cells: dict[tuple[int, int], tuple[str, str]] = {}
        self.dots: dict[tuple[int, int], int] = {}

    def level(self, value: float | None, mark: str, style: str) -> None:
        """A line across the plot."""
        if value is not None:
            for column in range(self.width):
                self.cells[_row(value), column] = (mark, style)

    def line(self, start: int, end: int, first: float, second: float) -> None:
        """A straight line between two points."""
        before: int | None = None
        for half in range(2 * start + 1, 2 * end + 1):
            share = (half / 2 - start) / (end - start)
            value = min(1.0, max(0.0, first + share * (second - first)))
            quarter = int(((1 - value) * (ROWS - 1) + 0.5) * 4)
            for between in _steps(before, quarter):
                place = (between // 4, half // 2)
                self.dots[place] = self.dots.get(place, 0) | _DOTS[between % 4][half % 2]
            before = quarter

    def point(self, column: int, point: Point) -> None:
        """A mark with its interval."""
        for row in range(_row(point.high), _row(point.low) + 1):
            self.cells[row, column] = ("|" if self.plain else "│", "bold")
        self.cells[_row(point.value), column] = ("o" if self.plain else "●", "bold")
        for row in range(ROWS):
            self.dots.pop((row, column), None)

    def lines(self, labels: dict[int, tuple[str, str]]) -> list[Text]:
        """The plot with its axis and the labels at its right."""
        for place, dots in self.dots.items():
            self.cells[place] = ("." if self.plain else chr(0x2800 + dots), "cyan")
        lines = []
        for row in range(ROWS):
            tick = f"{1 - row / (ROWS - 1):.2f}" if row % 4 == 0 else ""
            text = Text(f"{tick:>{LEFT - 3}} " + ("|" if self.plain else "┤" if tick else "│"))
            for column in range(self.width):
                mark, style = self.cells.get((row, column), (" ", ""))
                text.append(mark, style)
            if row in labels:
                text.append(f" {labels[row][0]}", labels[row][1])
            text.rstrip()
            lines.append(text)
        return lines


def _steps(before: int | None, now: int) -> range:
    """Every quarter row from the last one, so that a steep line has no gaps."""
    if before is None or before == now:
        return range(now, now + 1)
    return range(before + 1, now + 1) if now > before else range(now, before)
