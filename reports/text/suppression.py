"""The suppression table as data: who reads the release how well. Every renderer lays out the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from adversaries.evidence import Value
from reports.model.attempt_index import FEATURES, TWIN, Attempt, Lineup, best

WITHOUT_LABELS = ("clean", "on the release", "as a picture", "unlabelled")
"""Columns of attacks that were granted no labels, in order; those with K labels per class follow."""

Kind = Literal["model", "twin", "target", "floor", "probe"]

_SHORT = {
    "second-order": "pairs",
    "integer-codes": "codes",
    "bit-planes": "bits",
}
"""Names of derived features for narrow columns."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of the table.

    Args:
        value: what was measured; None without a number.
        mark: what tells its attempt from the others of the cell; empty where nothing is to be told.
        word: what stands in the number's place.
    """

    value: Value | None = None
    mark: str = ""
    word: str = "-"


LABELLED = "L2"
"""The columns of K are of this level; who knows more stands in rows of its own."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table; a part that cannot apply is empty.

    Args:
        kind: of whom it tells.
        name: of the model or probe.
        without: cells under `WITHOUT_LABELS`.
        labelled: cells under each K of the grid.
    """

    kind: Kind
    name: str
    without: tuple[Cell, ...] = ()
    labelled: tuple[Cell, ...] = ()


def suppression(lineup: Lineup) -> list[Row]:
    """Unintended models, near twins, the target, the floor, and probes without a model, in that order."""
    return [*(_model(lineup, name) for name in lineup.models), *_references(lineup), *_probes(lineup)]


def cell(value: Value | None, mark: str = "") -> Cell:
    """The cell of a number that may be unknown."""
    return Cell() if value is None or value.value is None else Cell(value=value, mark=mark)


def _model(lineup: Lineup, name: str) -> Row:
    frozen = lineup.select("frozen", model=name)
    ceilings = [value for attempt in frozen if (value := attempt.arm("ceiling")) is not None]
    without = (
        cell(ceilings[0] if ceilings else None),
        _best(frozen),
        _best(lineup.select("frozen-picture", model=name)),
        _best(lineup.select(model=name, level="L1")),
    )
    labelled = tuple(_best(lineup.select(model=name, labels=labels, level=LABELLED)) for labels in lineup.grid)
    return Row(kind="twin" if name.endswith(TWIN) else "model", name=name, without=without, labelled=labelled)


def _references(lineup: Lineup) -> list[Row]:
    """The target and the floor."""
    facts, floor = lineup.report.target, lineup.floor
    target = [facts.clean_accuracy, facts.accuracy, lineup.report.metrics.get("target.picture.accuracy"), None]
    return [
        Row(kind="target", name="target", without=tuple(cell(value) for value in target)),
        Row(kind="floor", name="floor", without=tuple(cell(value) for value in (floor, floor, None, None))),
    ]


def _probes(lineup: Lineup) -> list[Row]:
    """Probes that start from no model, each kind once, derived features as one row; then who knows more than labels."""
    learned = [a for a in lineup.task if a.model is None and a.level == LABELLED]
    kinds = dict.fromkeys("features" if a.adversary in FEATURES else a.adversary for a in learned)
    rows = []
    for kind in sorted(kinds, key=lambda kind: kind == "features"):
        names = FEATURES if kind == "features" else (kind,)
        cells = tuple(
            _best([a for a in learned if a.adversary in names and a.labels == labels]) for labels in lineup.grid
        )
        rows.append(Row(kind="probe", name="feature" if kind == "features" else kind, labelled=cells))
    return [*rows, *_stronger(lineup)]


def _stronger(lineup: Lineup) -> list[Row]:
    """Who knows more than labels; whoever reads the label off a reconstruction needs none."""
    stronger = [a for a in lineup.task if a.level > LABELLED and a.adversary != "target"]
    rows = []
    for name, level in dict.fromkeys((attempt.adversary, attempt.level) for attempt in stronger):
        same = [attempt for attempt in stronger if (attempt.adversary, attempt.level) == (name, level)]
        bare = [attempt for attempt in same if attempt.labels is None]
        without = (*(Cell() for _ in WITHOUT_LABELS[1:]), _best(bare)) if bare else ()
        cells = tuple(_best([attempt for attempt in same if attempt.labels == labels]) for labels in lineup.grid)
        rows.append(Row(kind="probe", name=f"{name} ({level})", without=without, labelled=cells))
    return rows


def _best(attempts: Sequence[Attempt]) -> Cell:
    """The best of some attempts by validation, with what tells it from the others."""
    winner = best(attempts)
    if winner is not None:
        return cell(winner.arm("attack"), _mark(winner))
    if not attempts:
        return Cell()
    states = {attempt.status for attempt in attempts}
    words = {"measured": "dropped", "failed": "failed", "not_run": "not run"}
    return Cell(word=next((word for state, word in words.items() if state in states), "n/a"))


def _mark(attempt: Attempt) -> str:
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
