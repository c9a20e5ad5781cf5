"""The section of adaptive probing: what it costs to repurpose the release."""

from __future__ import annotations

from reports.model.attempt_index import Attempt, AttemptIndex, best_showing
from reports.model.metric import Metric
from reports.model.numbers import number
from reports.model.pictures import CostCurve, Point
from reports.model.section import SECTIONS, Arrays, HeadlineNumber, Section, Source
from reports.sections.repurposing import chosen_by, repurposed
from reports.sections.suppression import suppression_remark

_PER_K, _RATIO_PER_K = "adaptive.accuracy@", "adaptive.suppression_ratio@"
_METRICS = (
    Metric(
        name="adaptive.accuracy",
        better="down",
        unit="rate",
        meaning="the strongest attack up to --threat at the largest K",
        predicted=True,
    ),
    Metric(
        name="adaptive.suppression_ratio",
        better="up",
        unit="ratio",
        over_floor=True,
        meaning="target model / max(strongest attack up to --threat, floor) at the largest K",
    ),
    Metric(
        name="adaptive.leakage",
        better="down",
        unit="leakage",
        meaning="the strongest attack up to --threat, floor 0 and images 1",
    ),
    Metric(
        name="adaptive.accuracy@K",
        better=None,
        unit="rate",
        meaning="the strongest attack with K labelled releases per class; 0: adaptation without labels",
        from_zero=True,
    ),
    Metric(
        name="adaptive.median_accuracy@0",
        better=None,
        unit="rate",
        meaning="the median of all adaptations without labels: no label was spent on choosing it",
    ),
    Metric(
        name="adaptive.suppression_ratio@K",
        better=None,
        unit="ratio",
        over_floor=True,
        meaning="target model / max(strongest attack with K labelled releases per class, floor)",
    ),
    *(
        Metric(
            name=f"adaptive.exposed@{labels}",
            better="down",
            unit="rate",
            meaning="share of the target images that an attack with so many labels per class picks out and names right",
            needs_labels=True,
        )
        for labels in (1, 10)
    ),
    Metric(
        name="adaptive.labels_to_half",
        better="up",
        unit="count",
        meaning="labelled releases per class that bring an attack half of the way from the floor to the target model",
        needs_labels=True,
    ),
    Metric(
        name="adaptive.labels_to_90",
        better="up",
        unit="count",
        meaning="labelled releases per class that bring an attack 90 % of the way from the floor to the target model",
        needs_labels=True,
    ),
    Metric(
        name="mdl.<label>.bits",
        better="up",
        unit="bits",
        meaning="online codelength of the label given releases, per target image",
        protocols=("adaptive-probe", "attribute"),
        task_protocol="adaptive-probe",
    ),
    Metric(
        name="mdl.<label>.control_bits",
        better=None,
        unit="bits",
        meaning="the same with random labels",
        protocols=("adaptive-probe", "attribute"),
        task_protocol="adaptive-probe",
    ),
)


@SECTIONS.register("adaptive-probe")
def adaptive_probe() -> Section:
    """How accurate attacks that learn from releases become, and with how many labels."""
    return Section(
        protocol="adaptive-probe",
        title="What repurposing costs",
        order=20,
        metrics=_METRICS,
        headlines=("adaptive.accuracy",),
        includes=("transfer",),
        on_task=True,
        note=(
            "A release that works carries the label, so an adaptive ratio near 1 at “all labels” is to be expected of "
            "every defense without a secret. What ranks defenses is what repurposing costs (labels needed, the ratio "
            "at small K), attribute leakage and inversion."
        ),
        legend="K = 10 is adaptive.accuracy@10.",
        example="adaptive.labels_to_90 >= 50",
        pictures=_pictures,
        numbers=_numbers,
        sources=_sources,
        sentences=_sentences,
        verdict=repurposed,
        reached=_reached,
    )


def _numbers(index: AttemptIndex) -> list[HeadlineNumber]:
    ratio, labels = "adaptive.suppression_ratio", "labelled releases per class"
    return [
        HeadlineNumber(title="adaptive suppression", metric=ratio, remark=suppression_remark(index, ratio)),
        HeadlineNumber(title="labels to go 90 %", metric="adaptive.labels_to_90", remark=labels),
        HeadlineNumber(title="labels to go half way", metric="adaptive.labels_to_half", remark=labels),
    ]


def _sources(index: AttemptIndex) -> list[Source]:
    """A line for every K; the strongest of all levels and the one at the largest K share a line if they are one."""
    named = [(f"K = {labels}", f"{_PER_K}{labels}") for labels in (0, *index.grid)]
    found = [
        Source(title=title, metric=name, attempt=_reached(index, name))
        for title, name in named
        if index.known(name) is not None
    ]
    if index.known("adaptive.accuracy") is None:
        return found
    strongest = _reached(index, "adaptive.accuracy")
    if found and strongest is not None and found[-1].attempt == strongest:
        last = found.pop()
        return [*found, Source(title=f"{last.title}, headline", metric=last.metric, attempt=last.attempt)]
    return [*found, Source(title="headline", metric="adaptive.accuracy", attempt=strongest)]


def _sentences(index: AttemptIndex) -> list[str]:
    parts = []
    unlabelled, needed = index.known(f"{_PER_K}0"), index.report.metrics.get("adaptive.labels_to_90")
    if unlabelled is not None and unlabelled.value is not None:
        median = index.known("adaptive.median_accuracy@0")
        typical = "" if median is None or median.value is None else f", the median one {number(median.value)}"
        parts.append(f"adapting without a label ({chosen_by(index)}) reaches {number(unlabelled.value)}{typical}")
    if needed is None:
        alone = ", and a low transfer accuracy alone does not show privacy" if index.known("transfer.accuracy") else ""
        return [*parts, f"what repurposing costs was not measured{alone}"]
    if needed.value is None:
        reason = needed.reason or "it was not measured"
        return [*parts, f"what repurposing costs is unknown, because {reason}"]
    count = number(needed.value, "count")
    one = count == "1"
    releases = f"{count} labelled release{'' if one else 's'} per class ({chosen_by(index)})"
    way = "an attacker 90 % of the way to the target model"
    if needed.censored:
        return [*parts, f"even {releases} {'does' if one else 'do'} not bring {way}"]
    return [*parts, f"{releases} bring{'s' if one else ''} {way}"]


def _reached(index: AttemptIndex, name: str) -> Attempt | None:
    metric, _, text = name.partition("@")
    if metric != "adaptive.accuracy":
        return None
    grid = index.grid
    labels: int | str | None = int(text) if text.isdecimal() else text or (grid[-1] if grid else None)
    granted = (None,) if labels == 0 else (None, labels)
    threat = str(index.report.command.settings.with_defaults.get("threat") or "L2")
    most = {"0": "L1", "": min(max("L2", threat), "L4")}.get(text, "L2")
    # Up to L2, attacks on the task that other protocols make are rows of their own and no part of this number.
    ladder = {"transfer", "adaptive-probe", *(("inversion", "mask-aware") if most > "L2" else ())}
    competed = [each for each in index.task if ladder & set(each.protocols) and not each.twin]
    eligible = [each for each in competed if each.labels in granted and each.level <= most]
    return best_showing(eligible, index.report.metrics.get(name))


def _pictures(index: AttemptIndex, rows: Arrays) -> list[CostCurve]:  # noqa: ARG001  (a section's shape)
    metrics, floor = index.report.metrics, index.floor
    points = tuple(point for labels in (0, *index.grid) if (point := _point(index, labels)) is not None)
    given = [value.reason for name, value in metrics.items() if name.startswith(_PER_K) and value.reason]
    shown = [name for name in metrics if name == "adaptive.accuracy" or name.startswith(_RATIO_PER_K)]
    return [
        CostCurve(
            points=points,
            floor=None if floor is None else floor.value,
            target=index.report.target.accuracy.value,
            absence="" if points else given[0] if given else "no attack was granted labelled releases",
            metrics=tuple(shown),
            chosen_by=chosen_by(index),
        )
    ]


def _point(index: AttemptIndex, labels: int | str) -> Point | None:
    """The strongest attack at one K; None where it has no number."""
    value = index.known(f"{_PER_K}{labels}")
    if value is None or value.value is None:
        return None
    ratio, reached = index.known(f"{_RATIO_PER_K}{labels}"), _reached(index, f"{_PER_K}{labels}")
    return Point(
        labels=str(labels),
        value=value.value,
        low=value.value if value.low is None else value.low,
        high=value.value if value.high is None else value.high,
        ratio="-" if ratio is None or ratio.value is None else f"{ratio.value:.3f}",
        reached="" if reached is None else reached.name,
    )
