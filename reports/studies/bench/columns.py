"""The columns of the bench: which number of a report each one shows. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from adversaries.evidence import Value
from reports.model.catalog import lookup
from reports.model.report import Report
from vfc.errors import UserError

Key = Literal[
    "retention", "transfer_ratio", "at_0", "at_1", "at_10", "at_all", "labels_to_90", "worst_leakage", "exposed",
    "identification", "psnr", "linked", "compression",
]  # fmt: skip
Group = Literal["repurposing", "leaking", "cost"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Args:
        key: its name in CSV files and in code.
        title: its heading.
        metric: name in the catalog; with a placeholder the worst of all that fit is shown.
        group: the table in which it stands where there is no room for all.
        meaning: one sentence, without its full stop.
    """

    key: Key
    title: str
    metric: str
    group: Group
    meaning: str


COLUMNS = (
    Column(
        key="retention",
        title="retention",
        metric="target.retention",
        group="repurposing",
        meaning="accuracy of the target model on the release / on the images",
    ),
    Column(
        key="transfer_ratio",
        title="transfer ratio",
        metric="transfer.suppression_ratio",
        group="repurposing",
        meaning="what papers print: target model / best model that never saw a release; it orders nothing here",
    ),
    Column(
        key="at_0",
        title="@0",
        metric="adaptive.accuracy@0",
        group="repurposing",
        meaning="accuracy of the strongest attack that adapts to releases without a label; the attacker's labelled "
        "validation part chose it, as in every column of attacks",
    ),
    Column(
        key="at_1",
        title="@1",
        metric="adaptive.accuracy@1",
        group="repurposing",
        meaning="accuracy of the strongest attack with 1 labelled release per class",
    ),
    Column(
        key="at_10",
        title="@10",
        metric="adaptive.accuracy@10",
        group="repurposing",
        meaning="the same with 10",
    ),
    Column(
        key="at_all",
        title="@all",
        metric="adaptive.accuracy@all",
        group="repurposing",
        meaning="the same with all of the attacker's labels",
    ),
    Column(
        key="labels_to_90",
        title="labels to 90 %",
        metric="adaptive.labels_to_90",
        group="repurposing",
        meaning="labelled releases per class that bring an attack 90 % of the way from the floor to the target model",
    ),
    Column(
        key="worst_leakage",
        title="worst attribute",
        metric="attribute.<a>.leakage",
        group="leaking",
        meaning="leakage of the private attribute that leaks most: 0 is the floor, 1 what the images tell",
    ),
    Column(
        key="exposed",
        title="exposed",
        metric="adaptive.exposed@10",
        group="leaking",
        meaning="share of the target images that the attack with 10 labels per class picks out and names right",
    ),
    Column(
        key="identification",
        title="identified",
        metric="inversion.identification",
        group="leaking",
        meaning="share of the reconstructions that are nearest to their own original in a gallery",
    ),
    Column(
        key="psnr",
        title="PSNR",
        metric="inversion.psnr",
        group="leaking",
        meaning="of the best reconstruction, in dB",
    ),
    Column(
        key="linked",
        title="linked",
        metric="linkage.image.top1",
        group="leaking",
        meaning="share of the releases that find their own image in a gallery",
    ),
    Column(
        key="compression",
        title="compression",
        metric="release.compression",
        group="cost",
        meaning="size of the image / size of the release",
    ),
)
"""In the order in which they are shown."""


def read(report: Report, column: Column) -> tuple[Value | None, str]:
    """The number of a column, and the attribute that it is about; None where the report has no such number.

    Of several the largest is taken: every column with a placeholder is one in which more is worse.
    """
    if "<" not in column.metric:
        return report.metrics.get(column.metric), ""
    try:
        pattern = lookup(column.metric.replace("<", "").replace(">", ""))
    except UserError:
        return None, ""
    found = {
        texts["attribute"]: value for name, value in report.metrics.items()
        if pattern.name == column.metric and (texts := pattern.match(name)) is not None
    }  # fmt: skip
    known = {name: value for name, value in found.items() if value.value is not None}
    if known:
        worst = max(sorted(known), key=lambda name: known[name].value or 0.0)
        return known[worst], worst
    return next(iter(found.values()), None), ""
