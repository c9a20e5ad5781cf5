"""The terminal report's tables: who reads the release how well, and where each headline number comes from."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from adversaries.evidence import Value
from reports.catalog import lookup
from reports.lineup import FEATURES, TWIN, Attempt, Lineup, best
from reports.words import LEVELS, figure, number, operators, short, span
from vfc.errors import UserError

WIDE = 150
"""Consoles of this width take the whole suppression table at once, with intervals."""

_ARMS = ("attack", "floor", "ceiling", "shuffled", "undefended")
_SHORT = {
    "second-order": "pairs",
    "integer-codes": "codes",
    "bit-planes": "bits",
}
"""Names of derived features for narrow columns."""

_HEADLINES = (
    ("transfer", "transfer.accuracy"),
    ("picture", "transfer.picture.accuracy"),
    ("near twin", "transfer.twin.accuracy"),
)
Row = tuple[Text, list[Text]]


def table(*headers: str, tight: bool = False) -> Table:
    """An open table whose cells fold instead of being cut; `tight` leaves one space between columns instead of two."""
    padding = (0, 0 if tight else 1, 0, 0)
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=padding)
    for header in headers:
        made.add_column(Text(header, "bold"), overflow="fold")
    return made


class Suppression:
    """The suppression table: unintended models, the target, the floor, and probes without a model.

    Args:
        lineup: the attempts; every text in its report is harmless already.
        width: of the console.
    """

    def __init__(self, lineup: Lineup, width: int) -> None:
        self.lineup, self.wide = lineup, width >= WIDE
        self.tight = width < 100 and len(lineup.grid) > 4

    def tables(self) -> list[Table]:
        """One table with intervals where there is room, else one without labels and one with."""
        plain_heads = ["clean", "on the release", "as a picture", "unlabelled"]
        label_heads = [f"K = {labels}" for labels in self.lineup.grid]
        models = [(self._name(model), *self._model(model)) for model in self.lineup.models]
        probes = [(name, self._blank(plain_heads), cells) for name, cells in self._probes()]
        others = [(name, cells, self._blank(label_heads)) for name, cells in self._references()]
        if self.wide:
            whole = table("", *plain_heads, *label_heads)
            self._fill(whole, [(name, [*a, *b]) for name, a, b in models])
            self._fill(whole, [(name, [*a, *b]) for name, a, b in others])
            self._fill(whole, [(name, [*a, *b]) for name, a, b in probes])
            return [whole]
        without = table("", *plain_heads, tight=self.tight)
        self._fill(without, [(name, a) for name, a, _ in models])
        self._fill(without, [(name, a) for name, a, _ in others])
        if not label_heads:
            return [without]
        with_labels = table("", *label_heads, tight=self.tight)
        self._fill(with_labels, [(name, b) for name, _, b in models])
        self._fill(with_labels, [(name, b) for name, _, b in probes])
        return [without, with_labels]

    def _fill(self, into: Table, rows: Sequence[Row]) -> None:
        """One block of rows."""
        for name, cells in rows:
            if name.plain.endswith("near twin"):
                into.add_section()
            into.add_row(name, *cells)
        into.add_section()

    def _name(self, model: str) -> Text:
        text = Text(short(model), "bold")
        return text.append("\nnear twin", "italic") if model.endswith(TWIN) else text

    def _model(self, model: str) -> tuple[list[Text], list[Text]]:
        """A model's cells without labels, and with."""
        frozen = self.lineup.select("frozen", model=model)
        ceilings = [value for attempt in frozen if (value := attempt.arm("ceiling")) is not None]
        without = [
            self.cell(ceilings[0] if ceilings else None),
            self._best(frozen),
            self._best(self.lineup.select("frozen-picture", model=model)),
            self._best(self.lineup.select(model=model, level="L1")),
        ]
        return without, [self._best(self.lineup.select(model=model, labels=labels)) for labels in self.lineup.grid]

    def _references(self) -> list[Row]:
        """The target and the floor."""
        facts, metrics, floor = self.lineup.report.target, self.lineup.report.metrics, self.lineup.floor
        target = [facts.clean_accuracy, facts.accuracy, metrics.get("target.picture.accuracy"), None]
        floors = [floor, floor, None, None]
        return [
            (Text("target", "bold green"), [self.cell(value) for value in target]),
            (Text("floor", "bold yellow"), [self.cell(value) for value in floors]),
        ]

    def _probes(self) -> list[Row]:
        """Probes that start from no model, each kind once; derived features as one row."""
        learned = [a for a in self.lineup.task if a.model is None and a.labels is not None]
        kinds = dict.fromkeys("features" if a.adversary in FEATURES else a.adversary for a in learned)
        rows = []
        for kind in sorted(kinds, key=lambda kind: kind == "features"):
            cells = []
            for labels in self.lineup.grid:
                names = FEATURES if kind == "features" else (kind,)
                cells.append(self._best([a for a in learned if a.adversary in names and a.labels == labels]))
            rows.append((Text(f"{short('feature' if kind == 'features' else kind)} probe"), cells))
        return rows

    def _best(self, attempts: Sequence[Attempt]) -> Text:
        """The best of some attempts by validation, with what tells it from the others."""
        winner = best(attempts)
        if winner is not None:
            return self.cell(winner.arm("attack"), _mark(winner))
        if not attempts:
            return Text("-")
        states = {attempt.status for attempt in attempts}
        words = {"measured": "dropped", "failed": "failed", "not_run": "not run"}
        return Text(next((word for state, word in words.items() if state in states), "n/a"))

    def cell(self, value: Value | None, mark: str = "") -> Text:
        """A number, what it came from, and below it the interval where there is room."""
        if value is None or value.value is None:
            return Text("-")
        text = Text(number(value.value))
        if mark:
            text.append(f" {short(mark, 12)}", "dim")
        return text.append(f"\n{span(value)}", "dim") if self.wide else text

    @staticmethod
    def _blank(heads: Sequence[str]) -> list[Text]:
        return [Text("-") for _ in heads]


def headlines(lineup: Lineup) -> list[tuple[str, str, Attempt | None]]:
    """Every headline accuracy that was measured: its short title, its metric, and where it came from.

    The strongest of all levels and the one at the largest K are one line where they are one attempt.
    """
    metrics = lineup.report.metrics
    named = [*_HEADLINES, *((f"K = {labels}", f"adaptive.accuracy@{labels}") for labels in (0, *lineup.grid))]
    found = [(title, name, lineup.source(name)) for title, name in named if _known(metrics.get(name))]
    if _known(metrics.get("adaptive.accuracy")):
        strongest = lineup.source("adaptive.accuracy")
        if found and strongest is not None and found[-1][2] == strongest:
            found[-1] = (f"{found[-1][0]}\nheadline", *found[-1][1:])
        else:
            found.append(("headline", "adaptive.accuracy", strongest))
    return found


def chosen_table(lineup: Lineup, width: int) -> Table | None:
    """Who was chosen for each headline number, with all arms side by side; None without any."""
    made = table("number", "chosen, level", *_ARMS, tight=width < 100)
    for title, name, attempt in headlines(lineup):
        if attempt is None:
            value = lineup.report.metrics[name]
            made.add_row(Text(title, "bold"), Text("the report does not tell"), _arm(value), *[Text("-")] * 4)
        else:
            made.add_row(Text(title, "bold"), _who(attempt), *(_arm(attempt.arm(arm)) for arm in _ARMS))
    task = f"task:{lineup.report.dataset.task}"
    for attempt in lineup.attempts:
        if attempt.chosen and attempt.goal != task:
            labels = "" if attempt.labels is None else f"\nK = {attempt.labels}"
            goal = Text(f"{short(attempt.goal)}{labels}", "bold")
            made.add_row(goal, _who(attempt), *(_arm(attempt.arm(arm)) for arm in _ARMS))
    return made if made.row_count else None


def other_numbers(lineup: Lineup, shown: Sequence[str], width: int) -> Table | None:
    """Every other number that was measured, in words of the catalog; None without any."""
    made, toward = table("number", "value", "meaning"), operators(lineup.report)
    for name, value in sorted(lineup.report.metrics.items()):
        if name in shown or value.value is None:
            continue
        unit = f" {value.unit}" if value.unit in ("dB", "bits", "nats", "dimensions") else ""
        made.add_row(Text(name), Text(figure(value, toward.get(name, frozenset())) + unit), Text(_meaning(name), "dim"))
    if width < 100:
        made.columns.pop()
    return made if made.row_count else None


def _known(value: Value | None) -> bool:
    return value is not None and value.value is not None


def _who(attempt: Attempt) -> Text:
    return Text(short(attempt.name, 40)).append(f"\n{attempt.level} {LEVELS.get(attempt.level, '')}", "dim")


def _arm(value: Value | None) -> Text:
    if value is None or value.value is None:
        return Text("-")
    return Text(number(value.value)).append(f"\n{span(value)}", "dim")


def _mark(attempt: Attempt) -> str:
    """What tells an attempt from the others of its cell; empty where nothing is to be told."""
    settings = attempt.settings
    if attempt.adversary in FEATURES:
        return _SHORT.get(attempt.adversary, attempt.adversary)
    if attempt.adversary == "fine-tune":
        return {"all": "whole"}.get(str(settings.get("scope")), str(settings.get("scope", "")))
    if attempt.adversary == "input-transform":
        return str(settings.get("transform", ""))
    if attempt.adversary == "moments":
        return str(settings.get("match", "moments"))
    if attempt.adversary == "frozen-picture":
        return str(settings.get("form", ""))
    if attempt.adversary == "adapter":
        return "input"
    return attempt.adversary if attempt.model is not None and attempt.adversary != "frozen" else ""


def _meaning(name: str) -> str:
    try:
        return lookup(name).meaning
    except UserError:
        return ""
