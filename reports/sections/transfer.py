"""The section of transfer: models that never saw a release, and the table of accuracies on the release."""

from __future__ import annotations

from reports.model.attempt_index import Attempt, AttemptIndex, best_showing
from reports.model.metric import Metric
from reports.model.numbers import number
from reports.model.pictures import AccuracyTable
from reports.model.section import SECTIONS, Arrays, HeadlineNumber, Section, Source
from reports.sections.accuracy_table import accuracy_table
from reports.sections.repurposing import by_chance
from reports.sections.suppression import suppression_remark

_METRICS = (
    Metric(
        name="target.picture.accuracy",
        better=None,
        unit="rate",
        meaning="the target model on the release made a real picture",
    ),
    Metric(
        name="transfer.accuracy",
        better="down",
        unit="rate",
        meaning="the best frozen unintended model on the release",
    ),
    Metric(
        name="transfer.suppression_ratio",
        better="up",
        unit="ratio",
        over_floor=True,
        meaning="target model / max(best frozen unintended model, floor): the published setting",
    ),
    Metric(
        name="transfer.leakage",
        better="down",
        unit="leakage",
        meaning="the best frozen unintended model, floor 0 and images 1",
    ),
    Metric(name="transfer.twin.accuracy", better=None, unit="rate", meaning="the near twin on the release"),
    Metric(
        name="transfer.twin.suppression_ratio",
        better=None,
        unit="ratio",
        over_floor=True,
        meaning="target model / max(near twin, floor)",
    ),
    Metric(
        name="transfer.picture.accuracy",
        better=None,
        unit="rate",
        meaning="transfer.accuracy with the release made a real picture",
    ),
    Metric(
        name="transfer.picture.suppression_ratio",
        better=None,
        unit="ratio",
        over_floor=True,
        meaning="transfer.suppression_ratio with the release made a real picture",
    ),
)
_COMPETE = {
    "transfer.accuracy": ("frozen", False),
    "transfer.picture.accuracy": ("frozen-picture", False),
    "transfer.twin.accuracy": ("frozen", True),
}
"""The adversary that competes for each accuracy, and whether from the near twin."""

_TITLES = {
    "transfer.accuracy": "transfer",
    "transfer.picture.accuracy": "picture",
    "transfer.twin.accuracy": "near twin",
}


@SECTIONS.register("transfer")
def transfer() -> Section:
    """How accurate other models are on the release."""
    return Section(
        protocol="transfer",
        title="Accuracy on the release",
        order=10,
        metrics=_METRICS,
        headlines=("transfer.accuracy",),
        on_task=True,
        pictures=_pictures,
        numbers=_numbers,
        sources=_sources,
        sentences=_sentences,
        verdict=_verdict,
        reached=_reached,
        example="transfer.accuracy <= 0.5",
    )


def _numbers(index: AttemptIndex) -> list[HeadlineNumber]:
    name = "transfer.suppression_ratio"
    return [HeadlineNumber(title="transfer suppression", metric=name, remark=suppression_remark(index, name))]


def _sources(index: AttemptIndex) -> list[Source]:
    known = [name for name in _TITLES if index.known(name) is not None]
    return [Source(title=_TITLES[name], metric=name, attempt=_reached(index, name)) for name in known]


def _sentences(index: AttemptIndex) -> list[str]:
    found, floor = index.known("transfer.accuracy"), index.floor
    if found is None or found.value is None:
        return []
    guess = floor.value if floor is not None else None
    low = found.low if found.low is not None else found.value
    where = "" if guess is None else f", {'at' if low <= guess else 'above'} the floor of {number(guess)}"
    return [f"the best model that never saw a release has an accuracy of {number(found.value)}{where}"]


def _verdict(index: AttemptIndex) -> list[str]:
    """What models that never saw a release read; with adaptive probing, those that adapt without a label say more."""
    if index.known("adaptive.accuracy@0") is not None:
        return []
    return by_chance(index, "Other models that never saw a release", "transfer.accuracy")


def _reached(index: AttemptIndex, name: str) -> Attempt | None:
    if name not in _COMPETE:
        return None
    adversary, twin = _COMPETE[name]
    competed = [each for each in index.task if each.adversary == adversary and each.twin == twin]
    return best_showing(competed, index.report.metrics.get(name))


def _pictures(index: AttemptIndex, rows: Arrays) -> list[AccuracyTable]:  # noqa: ARG001  (a section's shape)
    return [accuracy_table(index)]
