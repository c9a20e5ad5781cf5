"""Numbers over training as inline SVG: lines with their intervals over log-spaced steps, one panel per question.

Colors are in `STYLE`, for light and dark, so that a drawing stands alone or in a page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from adversaries.evidence import Value
from reports.formats import svg

WIDTH, HEIGHT = 344, 214
LEFT, RIGHT, TOP, BOTTOM = 46, 82, 30, 34
GAP = 14
"""Least distance of two labels."""

STYLE = """
.course { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif; }
.course text { font-size: 12px; fill: #1b1a18; text-anchor: middle; }
.course .tick { fill: #5a5851; font-size: 11px; }
.course .end { text-anchor: end; }
.course .start, .course .label { text-anchor: start; }
.course .title { font-size: 13px; font-weight: 600; text-anchor: start; }
.course .grid { stroke: #dedbd3; }
.course .zero { stroke: #5a5851; stroke-dasharray: 2 3; }
.course polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
.course .band { stroke: none; opacity: .16; }
.course .a, .course .a-dot { stroke: #1d559f; } .course .a-text, .course .a-band, .course .a-dot { fill: #1d559f; }
.course .b, .course .b-dot { stroke: #a1460b; } .course .b-text, .course .b-band, .course .b-dot { fill: #a1460b; }
.course .c, .course .c-dot { stroke: #17633a; } .course .c-text, .course .c-band, .course .c-dot { fill: #17633a; }
.course .d, .course .d-dot { stroke: #7c3a86; } .course .d-text, .course .d-band, .course .d-dot { fill: #7c3a86; }
.course .e, .course .e-dot { stroke: #5a5851; } .course .e-text, .course .e-band, .course .e-dot { fill: #5a5851; }
.course .b { stroke-dasharray: 7 3; } .course .c { stroke-dasharray: 2 3; } .course .d { stroke-dasharray: 9 3 2 3; }
.course .e { stroke-dasharray: 4 4; }
@media (prefers-color-scheme: dark) {
  .course text { fill: #eceae5; } .course .tick { fill: #aaa79f; }
  .course .grid { stroke: #393b40; } .course .zero { stroke: #aaa79f; } .course .band { opacity: .22; }
  .course .a, .course .a-dot { stroke: #8fb8f5; } .course .a-text, .course .a-band, .course .a-dot { fill: #8fb8f5; }
  .course .b, .course .b-dot { stroke: #f2a76f; } .course .b-text, .course .b-band, .course .b-dot { fill: #f2a76f; }
  .course .c, .course .c-dot { stroke: #7dd69b; } .course .c-text, .course .c-band, .course .c-dot { fill: #7dd69b; }
  .course .d, .course .d-dot { stroke: #d8a3e2; } .course .d-text, .course .d-band, .course .d-dot { fill: #d8a3e2; }
  .course .e, .course .e-dot { stroke: #aaa79f; } .course .e-text, .course .e-band, .course .e-dot { fill: #aaa79f; }
}
"""
"""Every line has a color and a dash of its own, and its name at its end."""

GROUND = Markup(
    "<style>.course .ground { fill: #ffffff; }"
    "@media (prefers-color-scheme: dark) { .course .ground { fill: #1b1c1f; } }</style>"
    '<rect class="ground" width="100%" height="100%"/>'
)
"""What a drawing that stands alone is drawn on."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One number over training.

    Args:
        name: written at its end.
        kind: `a` to `e`, its color and dash.
        values: one per checkpoint; those without a number are not drawn.
    """

    name: str
    kind: str
    values: Sequence[Value | None]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines on one scale.

    Args:
        title: what is drawn.
        lines: up to five.
        signed: whether zero is the value of no effect, to be marked, with room below.
    """

    title: str
    lines: Sequence[Line]
    signed: bool = False


def panel(steps: Sequence[int], drawn: Panel) -> Markup:
    """One panel as a drawing of its own."""
    return svg.drawing("course", WIDTH, HEIGHT, _description(steps, drawn), panel_parts(steps, drawn))


def sheet(steps: Sequence[int], rows: Sequence[tuple[str, Sequence[Panel]]], heading: str) -> Markup:
    """All panels in one drawing that brings its style along.

    Args:
        steps: of the checkpoints.
        rows: name of a layer and its panels, at least one row.
        heading: stands on top.
    """
    height, width = HEIGHT + 30, WIDTH * max(len(panels) for _, panels in rows) + 24
    parts = [Markup("<style>{}</style>").format(Markup(STYLE)), GROUND, svg.text("title", 12, 24, heading)]
    for row, (name, panels) in enumerate(rows):
        top = 44 + row * height
        parts.append(svg.text("title", 12, top + 12, name))
        for column, drawn in enumerate(panels):
            inner = Markup("").join(panel_parts(steps, drawn))
            parts.append(Markup('<g transform="translate({},{})">{}</g>').format(12 + column * WIDTH, top + 20, inner))
    whole = svg.drawing("course", width, 52 + height * len(rows), heading, parts)
    return Markup(str(whole).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def panel_parts(steps: Sequence[int], drawn: Panel) -> list[Markup]:
    """What is inside of a panel."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    ticks = scale(drawn)
    least, most = ticks[0], ticks[-1]

    def across(step: float) -> float:
        return LEFT + math.log10(1 + step) / math.log10(1 + steps[-1]) * (right - LEFT) if steps[-1] else LEFT

    def down(number: float) -> float:
        return bottom - (min(most, max(least, number)) - least) / (most - least) * (bottom - TOP)

    parts = [svg.text("title", 4, 14, drawn.title)]
    for tick in ticks:
        parts.append(svg.line("zero" if drawn.signed and tick == 0 else "grid", LEFT, down(tick), right, down(tick)))
        parts.append(svg.text("tick end", LEFT - 6, down(tick) + 4, f"{tick:g}"))
    for step in _marks(steps):
        parts.append(svg.line("grid", across(step), bottom, across(step), bottom + 4))
        parts.append(svg.text("tick", across(step), bottom + 16, f"{step:,}"))
    parts.append(svg.text("tick", (LEFT + right) / 2, HEIGHT - 4, "optimizer steps (log)"))
    ends = []
    for each in drawn.lines:
        known = [(across(step), value) for step, value in zip(steps, each.values, strict=True) if _known(value)]
        if not known:
            continue
        sure = [(x, value.low, value.high) for x, value in known if value is not None and _sure(value)]
        outline = [(x, down(high or 0)) for x, _, high in sure]
        outline += [(x, down(low or 0)) for x, low, _ in reversed(sure)]
        if len(sure) > 1:
            parts.append(Markup('<polygon class="band {}-band" points="{}"/>').format(each.kind, svg.path(outline)))
        places = [(x, down(value.value)) for x, value in known if value is not None and value.value is not None]
        parts.append(Markup('<polyline class="{}" points="{}"/>').format(each.kind, svg.path(places)))
        form = Markup('<circle class="{}-dot" cx="{:.1f}" cy="{:.1f}" r="2"/>')
        parts += [form.format(each.kind, x, y) for x, y in places]
        ends.append((places[-1][1], each))
    for height, (_, each) in zip(apart([end[0] for end in ends], TOP, bottom), ends, strict=True):
        parts.append(svg.text(f"label {each.kind}-text", right + 6, height + 4, each.name))
    return parts


def scale(drawn: Panel) -> list[float]:
    """Round numbers from below the lowest bound to above the highest, three to six of them."""
    numbers = [0.0]
    for value in (value for each in drawn.lines for value in each.values):
        if value is not None:
            numbers += [bound for bound in (value.value, value.low, value.high) if bound is not None]
    low, high = min(numbers), max(numbers)
    if drawn.signed:
        low, high = min(low, -0.1), max(high, 0.2)
    high = high if high > low else low + 1
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(tick * step, 10) for tick in range(first, last + 1)]


def apart(heights: Sequence[float], least: float, most: float) -> list[float]:
    """Heights of labels in the order given, moved as little as needed until each can be read."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    moved = [0.0] * len(heights)
    above = least - GAP
    for index in order:
        above = moved[index] = max(heights[index], above + GAP)
    below = most + GAP
    for index in reversed(order):
        below = moved[index] = min(moved[index], below - GAP)
    return moved


def _marks(steps: Sequence[int]) -> list[int]:
    """Steps with a number at the axis: the first, powers of ten, and the last one."""
    last = steps[-1]
    powers = [10**power for power in range(1, 12) if 10**power * 2 < last]
    return [*([0] if steps[0] == 0 else [steps[0]]), *[power for power in powers if power > steps[0]], last]


def _known(value: Value | None) -> bool:
    return value is not None and value.value is not None


def _sure(value: Value) -> bool:
    return value.low is not None and value.high is not None


def _description(steps: Sequence[int], drawn: Panel) -> str:
    """What the panel shows, for those who do not see it."""
    lines = []
    for each in drawn.lines:
        ends = [
            f"{value.value:.3g} at step {step}"
            for step, value in zip(steps, each.values, strict=True)
            if value is not None and value.value is not None
        ]
        lines.append(f"{each.name}: from {ends[0]} to {ends[-1]}" if ends else f"{each.name}: no number")
    return f"{drawn.title} over training. {'; '.join(lines)}."
