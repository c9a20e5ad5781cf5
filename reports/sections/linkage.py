"""The section of linkage."""

from __future__ import annotations

from reports.model.metric import Metric
from reports.model.section import SECTIONS, Section

_METRICS = (
    Metric(
        name="linkage.image.top1",
        better="down",
        unit="rate",
        meaning="how often a release finds its image in a gallery",
    ),
    Metric(
        name="linkage.release.top1",
        better="down",
        unit="rate",
        meaning="how often a release finds another one of its image",
    ),
)


@SECTIONS.register("linkage")
def linkage() -> Section:
    """Whether releases can be matched to images, or to each other."""
    return Section(
        protocol="linkage",
        title="Linkage",
        about="Whether releases can be matched to images, or to each other.",
        order=70,
        metrics=_METRICS,
        headlines=("linkage.image.top1", "linkage.release.top1"),
    )
