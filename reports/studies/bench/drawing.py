"""What usefulness costs, drawn: retention of every row against what it gives away, and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from reports.formats import svg
from reports.studies.bench.columns import Key
from reports.studies.bench.data import Bench, Row
from reports.studies.over_training.svg import apart

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 560, 48, 170, 18, 40
LEAST, LINE = 300, 14
"""Least height of a drawing, and of one name at its edge."""

Place = Callable[[float, float], tuple[float, float]]
"""From two numbers to a place in the drawing."""

PANELS: tuple[tuple[Key, str], ...] = (
    ("at_10", "accuracy of the strongest attack with 10 labels per class"),
    ("worst_leakage", "leakage of the worst attribute"),
)
"""What is drawn against retention; less of it is better."""

STYLE = """
.front { max-width: 46rem; }
svg.front text { font-size: 11px; } svg.front .tick { font-size: 11px; }
svg.front .step { stroke: var(--held); stroke-width: 2; }
svg.front .leader { stroke: var(--rule); }
svg.front .best { fill: var(--held); stroke: none; }
svg.front .hollow { stroke: var(--quiet); }
svg.front .chain { stroke: var(--accent); stroke-dasharray: 3 3; }
"""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One row as it is drawn."""

    row: Row
    x: float
    y: float

    @property
    def eligible(self) -> bool:
        """Whether it may be on the front: not extreme by design, no secret, and attacks that somebody vouches for."""
        return not self.row.mark and not self.row.hides_behind_secret and self.row.control == "matched"


def dots(bench: Bench, key: Key) -> list[Dot]:
    """The rows that have both numbers."""
    found = []
    for row in bench.graded:
        x, y = row.number("retention"), row.number(key)
        if x is not None and y is not None:
            found.append(Dot(row=row, x=x, y=y))
    return found


def front(points: Sequence[Dot]) -> list[Dot]:
    """The eligible rows than which no other eligible one retains as much and gives away as little, by retention.

    Of rows with equal numbers all stay.
    """
    may = [dot for dot in points if dot.eligible]

    def beaten(dot: Dot) -> bool:
        return any(
            other.x >= dot.x and other.y <= dot.y and (other.x, other.y) != (dot.x, dot.y) for other in may
        )  # fmt: skip

    return sorted((dot for dot in may if not beaten(dot)), key=lambda dot: (dot.x, dot.y, dot.row.name))


def draw(bench: Bench, key: Key, title: str) -> Markup:
    """One drawing; empty without any row that has both numbers."""
    points = dots(bench, key)
    if not points:
        return Markup("")
    best = front(points)
    height = max(LEAST, TOP + BOTTOM + LINE * len(points))
    right, bottom = WIDTH - RIGHT, height - BOTTOM
    most_x, most_y = max(1.0, *(dot.x for dot in points)), max(1.0, *(dot.y for dot in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / most_x * (right - LEFT), bottom - max(0.0, y) / most_y * (bottom - TOP)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(tick, tick)
        parts += [svg.line("grid", LEFT, y, right, y), svg.text("tick end", LEFT - 6, y + 4, f"{tick:g}")]
        parts += [svg.line("grid", x, TOP, x, bottom), svg.text("tick", x, bottom + 15, f"{tick:g}")]
    parts.append(svg.text("tick", (LEFT + right) / 2, height - 6, "retention (more is better)"))
    parts += _chains(points, place)
    parts += _steps(best, place)
    ordered = sorted(points, key=lambda dot: (-dot.y, dot.row.name))
    places = [place(dot.x, dot.y) for dot in ordered]
    heights = apart([y for _, y in places], TOP, bottom)
    for dot, (x, y), level in zip(ordered, places, heights, strict=True):
        kind = "best" if dot in best else "dot" if dot.eligible else "hollow"
        parts.append(svg.line("leader", x, y, right + 4, level))
        shape = Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>')
        parts.append(shape.format(kind, x, y, _words(dot)))
        parts.append(svg.text("label", right + 8, level + 4, f"{dot.row.name} {dot.y:.2f}"))
    names = ", ".join(dot.row.name for dot in best) or "nobody"
    whole = f"Retention against {title}. On the front: {names}. " + "; ".join(_words(dot) for dot in ordered) + "."
    return svg.drawing("front", WIDTH, height, whole, parts)


def _steps(best: Sequence[Dot], place: Place) -> list[Markup]:
    """The front as stairs: up to a row's retention one gives away no more than it does."""
    corners: list[tuple[float, float]] = []
    for dot in best:
        x, y = place(dot.x, dot.y)
        corners += [(corners[-1][0], y), (x, y)] if corners else [(x, y)]
    return [Markup('<polyline class="step" points="{}"/>').format(svg.path(corners))] if len(corners) > 1 else []


def _chains(points: Sequence[Dot], place: Place) -> list[Markup]:
    """Lines through the rows of one defense that was graded at several weights."""
    found = []
    for defense in sorted({dot.row.defense for dot in points if dot.row.point}):
        own = [dot for dot in points if dot.row.defense == defense and dot.row.point]
        own.sort(key=lambda dot: sorted(dot.row.point.items()))
        if len(own) > 1:
            line = svg.path([place(dot.x, dot.y) for dot in own])
            found.append(Markup('<polyline class="chain" points="{}"/>').format(line))
    return found


def _words(dot: Dot) -> str:
    return f"{dot.row.name}: retention {dot.x:.2f}, {dot.y:.2f}"
