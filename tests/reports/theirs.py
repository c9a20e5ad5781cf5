"""A section as a third party would bring it, for the tests of discovery."""

from reports.model.metric import Metric
from reports.model.pictures import Spectra
from reports.model.section import Section


def theirs() -> Section:
    """What a third party measures."""
    return Section(
        protocol="theirs",
        title="Their number",
        about="What a third party measures.",
        metrics=(Metric(name="theirs.<a>.rate", better="down", unit="rate", meaning="their rate"),),
        headlines=("theirs.<a>.rate",),
        pictures=lambda _, rows: [Spectra(layers={"theirs": [2.0, 1.0]})] if "theirs" in rows else [],
        sentences=lambda _: ["their number was measured"],
    )


def twice() -> Section:
    """A section that claims a metric of another."""
    return Section(
        protocol="twice",
        title="Twice",
        metrics=(Metric(name="mask.gain", better="down", unit="rate", meaning="claimed twice"),),
    )
