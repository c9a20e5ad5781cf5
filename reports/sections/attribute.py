"""The section of private attributes."""

from __future__ import annotations

from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.harmless import short
from reports.model.metric import Metric
from reports.model.numbers import percent
from reports.model.section import SECTIONS, Section, reached_exactly

_METRICS = (
    Metric(
        name="attribute.<a>.accuracy",
        better="down",
        unit="rate",
        meaning="the strongest attack on the attribute",
        predicted=True,
    ),
    Metric(
        name="attribute.<a>.leakage",
        better="down",
        unit="leakage",
        meaning="the strongest attack, floor 0 and images 1",
        predicted=True,
    ),
    Metric(
        name="attribute.<a>.worst_class_leakage",
        better="down",
        unit="leakage",
        meaning="leakage about the class that leaks most, corrected for the number of classes",
    ),
    Metric(
        name="attribute.<a>.exposed",
        better="down",
        unit="rate",
        meaning="share of the target images that the attack picks out itself and names right",
    ),
    Metric(
        name="attribute.<a>.transfer_accuracy",
        better="down",
        unit="rate",
        meaning="the best frozen clean attribute model on the release",
    ),
)
_ACCURACY, _LEAKAGE = _METRICS[:2]


@SECTIONS.register("attribute")
def attribute() -> Section:
    """What the release tells about labels that it was not made for."""
    return Section(
        protocol="attribute",
        title="Private attributes",
        about="What the release tells about labels that it was not made for.",
        order=30,
        metrics=_METRICS,
        headlines=(_LEAKAGE.name, _ACCURACY.name),
        sentences=_sentences,
        verdict=_verdict,
        reached=_reached,
    )


def _sentences(index: AttemptIndex) -> list[str]:
    """The attribute that leaks most, if a leakage was measured."""
    name = attribute().worst(index.report)
    value = None if name is None else index.report.metrics[name].value
    found = None if name is None else _LEAKAGE.match(name)
    if value is None or found is None:
        return []
    share, label = f"{100 * value:.0f} %", short(found["attribute"])
    return [f"the release tells {share} of what the images tell about “{label}”"]


def _verdict(index: AttemptIndex) -> list[str]:
    """The attribute that leaks most: named right how often, and how often without the release."""
    name = attribute().worst(index.report)
    found = None if name is None else _LEAKAGE.match(name)
    if found is None:
        return []
    label, accuracy = found["attribute"], f"attribute.{found['attribute']}.accuracy"
    value, attempt = index.known(accuracy), _reached(index, accuracy)
    if value is None or value.value is None or attempt is None:
        return []
    floor = attempt.arm("floor")
    without = "" if floor is None or floor.value is None else f", {percent(floor.value)} without the release"
    low = index.report.metrics[f"attribute.{label}.leakage"].low
    says = "Gives away" if low is not None and low > 0 else "Does not clearly give away"
    return [f"{says} “{short(label)}”: {percent(value.value)}{without}."]


def _reached(index: AttemptIndex, name: str) -> Attempt | None:
    """Leakage is a share; the accuracy that it was computed from is what an attempt shows."""
    labels = [found["attribute"] for metric in _METRICS if (found := metric.match(name)) is not None]
    chosen, value = attribute().chosen(index), index.report.metrics.get(name)
    for label in labels:
        chosen = tuple(attempt for attempt in chosen if attempt.goal == f"attribute:{label}")
        value = index.report.metrics.get(f"attribute.{label}.accuracy", value)
    return reached_exactly(chosen, value)
