"""A report section: what the protocol's numbers mean, and which way is better."""

from reports.model.metric import Metric
from reports.model.section import SECTIONS, Section


@SECTIONS.register("contrast")
def contrast():
    """The contrast that releases keep."""
    meaning = "contrast of the release / contrast of the image"
    metric = Metric(name="contrast.kept", better="down", unit="ratio", meaning=meaning)
    return Section(
        protocol="contrast", title="Contrast", metrics=(metric,), headlines=("contrast.kept",), attacked=False
    )
