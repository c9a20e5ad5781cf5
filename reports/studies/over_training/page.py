"""`overtraining.json` as a page and as one drawing; pure functions of the file. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from adversaries.evidence import Value
from adversaries.statistics.training_course import HEURISTICS, QUANTITIES
from reports.formats.page import render_page
from reports.model.harmless import cleaned
from reports.studies.over_training.svg import STYLE, Line, Panel, panel, sheet


def _panel_of(panel: str) -> dict[str, tuple[str, str]]:
    """Name and look of every line of a panel."""
    drawn = {key: names.line for key, names in QUANTITIES.items() if names.panel == panel}
    return {key: (line, look) for (key, line), look in zip(drawn.items(), "abcd", strict=False)}


DOF, RANK = _panel_of("dof"), _panel_of("rank")
NAMES = {key: names.title for key, names in QUANTITIES.items()}
SUBJECTS = {key: names.subject for key, names in QUANTITIES.items() if names.subject}
"""What the page answers first, and how it calls that."""


def render_html(data: Mapping[str, Any]) -> str:
    """A page without scripts that fetches nothing.

    Args:
        data: as `vfc leakage --over-training` wrote it.
    """
    return render_page("overtraining", _Page(cleaned(data)), cleaned=True)


def render_svg(data: Mapping[str, Any]) -> str:
    """The panels of all layers as one drawing that stands alone."""
    page = _Page(cleaned(data))
    rows = [(str(layer["name"]), page.panels_of(layer)) for layer in page.layers]
    if page.whole is not None:
        rows.append(("whole model", [page.whole]))
    return str(sheet(page.steps, rows, page.heading)) + "\n"


class _Page:
    """What the template asks for.

    Args:
        data: the file, with harmless texts.
    """

    style = Markup(STYLE)
    names, heuristics = NAMES, HEURISTICS

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self.steps: Sequence[int] = data["steps"]
        self.layers: Sequence[Mapping[str, Any]] = data["layers"]
        self.correlations: Sequence[Mapping[str, Any]] = data["correlations"]
        self.asked: Mapping[str, Any] = data["membership"]

    @property
    def heading(self) -> str:
        """What is drawn."""
        first, last = self.steps[0], self.steps[-1]
        return f"{self.data['title']}: {len(self.steps)} checkpoints, steps {first} to {last:,}"

    @property
    def answers(self) -> list[str]:
        """The two questions, answered with numbers."""
        answers = []
        for name in SUBJECTS:
            known = [layer["courses"][name]["fall_then_rise"]["found"] for layer in self.layers
                     if name in layer["courses"]]  # fmt: skip
            found, decided = sum(each is True for each in known), sum(each is not None for each in known)
            where = f"first fell and then rose, beyond its intervals, in {found} of {decided} layers"
            answers.append(f"{SUBJECTS[name]} {where if decided else 'could not be followed'}.")
        row = next((row for row in self.correlations if row["quantity"] == next(iter(SUBJECTS))), None)
        if row is not None:
            what = "Rank correlation over layers of their MCR with the membership advantage at the end: "
            answers.insert(1, what + self.correlation(row) + ".")
        return answers

    def drawings(self, layer: Mapping[str, Any]) -> list[Markup]:
        """The panels of one layer."""
        return [panel(self.steps, drawn) for drawn in self.panels_of(layer)]

    def panels_of(self, layer: Mapping[str, Any]) -> list[Panel]:
        """Degrees of freedom, rank, and membership where it was asked."""
        courses = layer["courses"]

        def lines(which: Mapping[str, tuple[str, str]]) -> list[Line]:
            return [
                Line(name=name, kind=kind, values=[Value.model_validate(value) for value in courses[key]["values"]])
                for key, (name, kind) in which.items()
                if key in courses
            ]

        found = [
            Panel(title="Degrees of freedom", lines=lines(DOF)),
            Panel(title="Rank of the Jacobian", lines=lines(RANK)),
        ]
        return [*found, _membership(layer["membership"])] if layer["membership"] else found

    @property
    def whole(self) -> Panel | None:
        """Membership by the whole model."""
        return None if self.data["model"] is None else _membership(self.data["model"])

    @property
    def whole_drawing(self) -> Markup:
        """The same as a drawing."""
        return Markup("") if self.whole is None else panel(self.steps, self.whole)

    def rows(self, layer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        """Title and course of every number of a layer."""
        return [(NAMES[name], course) for name, course in layer["courses"].items() if name in NAMES]

    def least(self, course: Mapping[str, Any]) -> Any:
        """The smallest number of a course."""
        position = course["fall_then_rise"]["position"]
        return None if position is None else course["values"][position]

    def number(self, value: Mapping[str, Any] | None) -> str:
        """A number, short; a dash where there is none."""
        read = None if value is None else Value.model_validate(value).value
        return "–" if read is None else _short(read)

    def bounds(self, value: Mapping[str, Any] | None) -> str:
        """Its interval; empty where there is none."""
        read = None if value is None else Value.model_validate(value)
        if read is None or read.value is None or read.low is None or read.high is None or read.low == read.high:
            return ""
        return f"{_short(read.low)} to {_short(read.high)}"

    def advantage(self, row: Mapping[str, Any]) -> str:
        """The advantage of an attack with its interval, or why it is not known."""
        found = Value.model_validate(row["advantage"])
        if found.value is None:
            return f"not known ({found.reason})"
        return f"{self.number(row['advantage'])} ({self.bounds(row['advantage'])})"

    def verdict(self, course: Mapping[str, Any]) -> str:
        """Whether it first fell and then rose."""
        return {True: "yes", False: "no", None: "not known"}[course["fall_then_rise"]["found"]]

    def correlation(self, row: Mapping[str, Any]) -> str:
        """A rank correlation with its interval and n."""
        if row["value"] is None:
            return f"none ({row['reason']})"
        return f"{row['value']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f}, n = {row['n']} layers)"

    def correlated(self, quantity: str, heuristic: str) -> str:
        """The correlation of one summary of one number."""
        rows = [row for row in self.correlations if (row["quantity"], row["heuristic"]) == (quantity, heuristic)]
        return self.correlation(rows[0]) if rows else "–"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _membership(found: Sequence[Mapping[str, Any]]) -> Panel:
    def values(arm: str) -> list[Value | None]:
        return [Value.model_validate(each[arm]) if arm in each else None for each in found]

    lines = [
        Line(name="attack", kind="a", values=values("advantage")),
        Line(name="shuffled", kind="e", values=[_plain(value) for value in values("shuffled")]),
    ]
    return Panel(title="Membership advantage", lines=lines, signed=True)


def _plain(value: Value | None) -> Value | None:
    """A control is drawn without its interval, which would hide the attack's."""
    return None if value is None else value.model_copy(update={"low": None, "high": None})
