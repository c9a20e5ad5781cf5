"""Drawings as inline SVG: the cost of repurposing, numbers with their intervals, spectra, ROC curves.

Colors come from the page's style sheet by class, so that a drawing follows light, dark and print. What is told by color
is told by shape or text too, and every drawing says in words what it shows. Coordinates are in pixels of the view box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from adversaries.evidence import Arm, Value
from reports.model.pictures import Point

WIDTH, HEIGHT = 520, 320
LEFT, RIGHT, TOP, BOTTOM = 44, 136, 22, 46
_APART = 17
"""Least distance of two lines of text."""

_MOST = 200
"""Points of a line that are drawn at most."""


def curve(points: Sequence[Point], *, floor: float | None = None, target: float | None = None) -> Markup:
    """Accuracy against labelled releases per class, with its interval, the floor and the target model.

    Args:
        points: in order of K, equally spaced because neither 0 nor `all` has a place on a logarithmic axis.
        floor: accuracy without the release.
        target: the target model's accuracy on the release.
    """
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    slot = (right - LEFT) / max(1, len(points))
    across = [LEFT + slot * (position + 0.5) for position in range(len(points))]

    def down(value: float) -> float:
        return bottom - min(1.0, max(0.0, value)) * (bottom - TOP)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(line("grid", LEFT, down(tick), right, down(tick)))
        parts.append(text("tick end", LEFT - 8, down(tick) + 4, f"{tick:.2f}"))
    outline = [(x, down(p.high)) for x, p in zip(across, points, strict=True)]
    outline += [(x, down(p.low)) for x, p in reversed(list(zip(across, points, strict=True)))]
    if len(points) > 1:
        parts.append(Markup('<polygon class="band" points="{}"/>').format(path(outline)))
    marks = [("target", "target model", target), ("floor", "floor", floor)]
    heights = _spread([down(value) for _, _, value in marks if value is not None], TOP, bottom)
    for (kind, name, value), height in zip([mark for mark in marks if mark[2] is not None], heights, strict=True):
        if value is not None:
            parts.append(line(kind, LEFT, down(value), right, down(value)))
            parts.append(text(f"label {kind}-text", right + 8, height + 4, f"{name} {value:.3f}"))
    parts.append(
        Markup('<polyline class="attack" points="{}"/>').format(
            path([(x, down(point.value)) for x, point in zip(across, points, strict=True)])
        )
    )
    for x, point in zip(across, points, strict=True):
        parts.append(line("whisker", x, down(point.high), x, down(point.low)))
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(x, down(point.value)))
        above = down(point.high) - 8
        parts.append(
            text("value", x, above if above > TOP - 6 else min(bottom - 4, down(point.low) + 18), f"{point.value:.3f}")
        )
        parts.append(text("tick", x, bottom + 18, point.labels))
    parts.append(text("tick", (LEFT + right) / 2, HEIGHT - 8, "K, labelled releases per class"))
    said = ", ".join(f"K = {point.labels}: {point.notes[0]}" for point in points)
    title = f"Accuracy of the strongest attack against labelled releases per class. {said}."
    title += "".join(f" {name.capitalize()} {value:.3f}." for _, name, value in marks if value is not None)
    return drawing("curve", WIDTH, HEIGHT, title, parts)


def arms(values: Mapping[Arm, Value | None]) -> Markup:
    """An attack beside its controls on [0, 1]: a dot with its interval, and a mark of its own shape for each control.

    Args:
        values: by arm; those without a number are not drawn.
    """
    width, height, middle = 150, 22, 11

    def across(value: float) -> float:
        return 6 + min(1.0, max(0.0, value)) * (width - 12)

    known = {
        name: (value.value, value) for name, value in values.items() if value is not None and value.value is not None
    }
    parts = [line("grid", 6, middle, width - 6, middle)]
    shapes: dict[Arm, Callable[[float], Markup]] = {
        "floor": lambda x: line("floor-tick", x, 2, x, height - 2),
        "ceiling": lambda x: Markup('<path class="hollow" d="M{:.1f} 5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>').format(x),
        "shuffled": lambda x: Markup('<path class="cross" d="M{:.1f} 7l8 8m0 -8l-8 8"/>').format(x - 4),
        "undefended": lambda x: Markup('<rect class="hollow" x="{:.1f}" y="6.5" width="9" height="9"/>').format(
            x - 4.5
        ),
    }
    parts += [draw(across(known[name][0])) for name, draw in shapes.items() if name in known]
    if "attack" in known:
        number, value = known["attack"]
        low, high = (number if bound is None else bound for bound in (value.low, value.high))
        parts.append(line("whisker", across(low), middle, across(high), middle))
        parts.append(Markup('<circle class="dot" cx="{:.1f}" cy="{}" r="4.5"/>').format(across(number), middle))
    title = "; ".join(f"{name} {number:.3f}" for name, (number, _) in known.items()) or "no number"
    return drawing("strip", width, height, title, parts)


def limit(value: Value, number: float, upward: bool) -> Markup:
    """A number with its interval beside the limit of a gate; the side that satisfies the gate is shaded.

    Args:
        value: as it was judged.
        number: the limit.
        upward: whether the gate asks for large values.
    """
    if value.value is None:
        return Markup("")
    width, height, middle = 260, 44, 16
    low, high = (value.value if bound is None else bound for bound in (value.low, value.high))
    least, most = min(low, number, value.value), max(high, number, value.value)
    room = (most - least) * 0.15 or abs(number) * 0.15 or 1.0

    def across(point: float) -> float:
        whole = most - least + 2 * room
        share = (point - least + room) / whole if math.isfinite(whole) else 0.5
        return 4 + share * (width - 8)

    edge = across(number)
    start, end = (edge, width - 4.0) if upward else (4.0, edge)
    parts = [
        Markup('<rect class="wanted" x="{:.1f}" y="4" width="{:.1f}" height="24"/>').format(start, max(0, end - start)),
        line("grid", 4, middle, width - 4, middle),
        line("limit", edge, 2, edge, 30),
        line("whisker", across(low), middle, across(high), middle),
        Markup('<circle class="dot" cx="{:.1f}" cy="{}" r="4.5"/>').format(across(value.value), middle),
        text("tick", min(width - 34, max(34, edge)), 42, f"limit {number:.4g}"),
    ]
    title = f"{value.value:.4g}, between {low:.4g} and {high:.4g}; the limit is {number:.4g}, wanted is "
    return drawing("strip", width, height, title + ("more" if upward else "less"), parts)


def spectrum(name: str, values: Sequence[float]) -> Markup:
    """Singular values relative to the largest, falling, on a logarithmic axis down to 1e-6.

    Args:
        name: of the layer.
        values: at least 0, finite, in any order.
    """
    lowest, width, height = -6.0, 300, 190
    falling = sorted(values, reverse=True)
    largest = falling[0] if falling and falling[0] > 0 else 1.0
    left, right, top, bottom = 46, width - 10, 26, height - 34
    step = (right - left) / max(1, len(falling) - 1)

    def down(share: float) -> float:
        exponent = max(lowest, math.log10(share)) if share > 0 else lowest
        return top + exponent / lowest * (bottom - top)

    parts = [text("label start", 4, 14, _short(name))]
    for exponent in (0, -2, -4, -6):
        parts.append(line("grid", left, down(10.0**exponent), right, down(10.0**exponent)))
        parts.append(text("tick end", left - 6, down(10.0**exponent) + 4, f"1e{exponent}" if exponent else "1"))
    parts.append(line("limit", left, down(1e-3), right, down(1e-3)))
    places = [(left + step * index, down(falling[index] / largest)) for index in _thinned(len(falling))]
    parts.append(Markup('<polyline class="attack" points="{}"/>').format(path(places)))
    parts.append(text("tick", (left + right) / 2, height - 6, f"{len(falling)} singular values / the largest"))
    above = sum(value > 1e-3 * largest for value in falling)
    return drawing("small", width, height, f"Spectrum of {name}: {above} of {len(falling)} above 0.001", parts)


def roc(name: str, false: Sequence[float], true: Sequence[float]) -> Markup:
    """True against false positive rate, both logarithmic from 0.001 on, with the line of guessing.

    Args:
        name: of the adversary.
        false: false positive rates, ascending, in [0, 1].
        true: true positive rates at these.
    """
    size, left, bottom, right, top = 320, 48, 280, 308, 32

    def share(rate: float) -> float:
        return (math.log10(min(1.0, max(1e-3, rate))) + 3) / 3

    def place(x: float, y: float) -> tuple[float, float]:
        return left + share(x) * (right - left), bottom - share(y) * (bottom - top)

    parts = [text("label start", 4, 14, _short(name))]
    for tick in (0.001, 0.01, 0.1, 1.0):
        x, y = place(tick, tick)
        parts += [line("grid", left, y, right, y), line("grid", x, top, x, bottom)]
        parts += [text("tick end", left - 6, y + 4, f"{tick:g}"), text("tick", x, bottom + 16, f"{tick:g}")]
    parts.append(line("floor", left, bottom, right, top))
    places = [place(false[index], true[index]) for index in _thinned(len(false))]
    parts.append(Markup('<polyline class="attack" points="{}"/>').format(path(places)))
    parts.append(text("tick", (left + right) / 2, size - 6, "false positive rate"))
    parts.append(text("label start", left + 8, top + 16, "true positive rate"))
    title = f"True against false positive rate of {name}; the dashed line is guessing"
    return drawing("small", size, size, title, parts)


def drawing(kind: str, width: int, height: int, title: str, parts: Sequence[Markup]) -> Markup:
    """A whole drawing of some class, with the words that stand for it where it cannot be seen."""
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        kind, width, height, title, title, Markup("").join(parts)
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A straight line of some class."""
    form = Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>')
    return form.format(kind, x1, y1, x2, y2)


def text(kind: str, x: float, y: float, text: str) -> Markup:
    """Words of some classes, with their base line at y."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:37]}..."


def path(places: Sequence[tuple[float, float]]) -> str:
    """Points of a line or a polygon, as SVG writes them."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _thinned(count: int) -> list[int]:
    """Indices from the first to the last, so few that a drawing stays small."""
    if count <= _MOST:
        return list(range(count))
    return [round(step * (count - 1) / (_MOST - 1)) for step in range(_MOST)]


def _spread(heights: Sequence[float], least: float, most: float) -> list[float]:
    """Heights of one or two labels, moved apart until both can be read."""
    if len(heights) < 2 or abs(heights[0] - heights[1]) >= _APART:
        return list(heights)
    upper, lower = sorted(heights)
    middle = min(most - _APART / 2, max(least + _APART / 2, (upper + lower) / 2))
    moved = [middle - _APART / 2, middle + _APART / 2]
    return moved if heights[0] <= heights[1] else moved[::-1]
