"""The table of accuracies on the release: by model or probe, by what it knows and with how many labels."""

from __future__ import annotations

from collections.abc import Sequence

from adversaries.evidence import Value
from reports.model.attempt_index import TWIN, Attempt, AttemptIndex, best
from reports.model.pictures import AccuracyTable, Cell, Row

WITHOUT_LABELS = ("clean", "on the release", "as a picture", "unlabelled")
"""Columns of attacks that were granted no labels, in order; those with K labels per class follow."""

LABELLED = "L2"
"""The columns of K are of this level; attackers with more knowledge stand in rows of their own."""

FEATURES = (
    *("bit-planes", "integer-codes", "norms", "signs", "second-order"),
    *("trees", "products", "residues", "ranks", "signed-planes"),
)
"""Probes that learn from derived features; the table shows the best of them as one row."""

_SHORT = {
    "second-order": "pairs",
    "integer-codes": "codes",
    "bit-planes": "bits",
    "signed-planes": "planes",
}
"""Names of derived features for narrow columns."""


def accuracy_table(index: AttemptIndex) -> AccuracyTable:
    """Unintended models, near twins, the target model, the floor, and probes without a model, in that order."""
    if not index.task:
        note = "Nothing attacked the task of the target model."
        return AccuracyTable(without=WITHOUT_LABELS, grid=(), rows=(), notes=(note,))
    rows = (*(_model(index, name) for name in index.models), *_references(index), *_probes(index))
    return AccuracyTable(without=WITHOUT_LABELS, grid=index.grid, rows=rows, notes=tuple(_notes(index)))


def _notes(index: AttemptIndex) -> list[str]:
    report = index.report
    notes = ["Accuracy on the same target images."]
    if index.models:
        notes.append(
            "Clean: the frozen model on the images. As a picture: the release clipped or rescaled to [0, 1], 8 bit."
        )
    else:
        why = ": without the originals none can be trained" if report.release.kind == "arrays" else ""
        notes.append(f"No unintended model attacked{why}.")
    if any(model.endswith(TWIN) for model in index.models):
        notes.append("The near twin has the target model's architecture and is in no headline number.")
    if index.grid:
        notes.append(
            "K: labelled releases per class. Whole, head: layers that were fine-tuned; input: an adapter in front; "
            "cut: left out of a race, with what it had reached."
        )
    notes.append("Each cell is the best by the attacker's validation part, never by the target images.")
    if any("over_draws" in row.metrics for attempt in index.task for row in attempt.rows):
        notes.append("At fewer than all labels: with the first draw of them; headline numbers are means over draws.")
    if report.target.accuracy.value is None:
        notes.append(f"No target model: {report.target.accuracy.reason or 'not measured'}.")
    return notes


def cell(value: Value | None, mark: str = "") -> Cell:
    """The cell of a number that may be unknown."""
    return Cell() if value is None or value.value is None else Cell(value=value, mark=mark)


def _model(index: AttemptIndex, name: str) -> Row:
    frozen = index.select("frozen", model=name)
    ceilings = [value for attempt in frozen if (value := attempt.arm("ceiling")) is not None]
    without = (
        cell(ceilings[0] if ceilings else None),
        _best(frozen),
        _best(index.select("frozen-picture", model=name)),
        _best(index.select(model=name, level="L1")),
    )
    labelled = tuple(_best(index.select(model=name, labels=labels, level=LABELLED)) for labels in index.grid)
    return Row(kind="twin" if name.endswith(TWIN) else "model", name=name, without=without, labelled=labelled)


def _references(index: AttemptIndex) -> list[Row]:
    """The target model and the floor."""
    facts, floor = index.report.target, index.floor
    target = [facts.clean_accuracy, facts.accuracy, index.report.metrics.get("target.picture.accuracy"), None]
    return [
        Row(kind="target", name="target model", without=tuple(cell(value) for value in target)),
        Row(kind="floor", name="floor", without=tuple(cell(value) for value in (floor, floor, None, None))),
    ]


def _probes(index: AttemptIndex) -> list[Row]:
    """Probes that start from no model, each kind once, derived features as one row; then more than labels."""
    learned = [a for a in index.task if a.model is None and a.level == LABELLED]
    kinds = dict.fromkeys("features" if a.adversary in FEATURES else a.adversary for a in learned)
    rows = []
    for kind in sorted(kinds, key=lambda kind: kind == "features"):
        names = FEATURES if kind == "features" else (kind,)
        cells = tuple(
            _best([a for a in learned if a.adversary in names and a.labels == labels]) for labels in index.grid
        )
        rows.append(Row(kind="probe", name="feature" if kind == "features" else kind, labelled=cells))
    return [*rows, *_stronger(index)]


def _stronger(index: AttemptIndex) -> list[Row]:
    """Attackers that know more than labels; those that take the label from a reconstruction need none."""
    stronger = [a for a in index.task if a.level > LABELLED and a.adversary != "target"]
    rows = []
    for name, level in dict.fromkeys((attempt.adversary, attempt.level) for attempt in stronger):
        same = [attempt for attempt in stronger if (attempt.adversary, attempt.level) == (name, level)]
        bare = [attempt for attempt in same if attempt.labels is None]
        without = (*(Cell() for _ in WITHOUT_LABELS[1:]), _best(bare)) if bare else ()
        cells = tuple(_best([attempt for attempt in same if attempt.labels == labels]) for labels in index.grid)
        rows.append(Row(kind="probe", name=f"{name} ({level})", without=without, labelled=cells))
    return rows


def _best(attempts: Sequence[Attempt]) -> Cell:
    """The best of some attempts by validation, with what tells it from the others."""
    winner = best(attempts)
    if winner is not None:
        # Who was left out of a race might have come further.
        stopped = ("cut",) if "dropped" in winner.settings else ()
        return cell(winner.arm("attack"), " ".join([mark for mark in (_mark(winner), *stopped) if mark]))
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
    if attempt.adversary == "spreading-features":
        return "spread"
    return attempt.adversary if attempt.model is not None and attempt.adversary != "frozen" else ""
