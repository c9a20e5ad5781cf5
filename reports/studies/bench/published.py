"""What papers print of a defense, beside what was measured here, where data set, task and attribute fit.

The numbers are in `published.json`. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from adversaries.evidence import Value
from reports.model.report import Dataset, Report

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number of a paper beside ours.

    Args:
        metric: what it is a number of.
        ours: as measured here; None if it was not.
        theirs: as printed.
        source: where.
        differs: why the two need not agree.
    """

    metric: str
    ours: Value | None
    theirs: float
    source: str
    differs: str


@cache
def _content() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def published(defense: str, report: Report) -> tuple[Published, ...]:
    """What papers print of a defense, if they measured on such data.

    Args:
        defense: registered name.
        report: what was measured here.
    """
    sources = _content()["sources"]
    return tuple(
        Published(
            metric=metric,
            ours=report.metrics.get(metric),
            theirs=theirs,
            source=source["source"],
            differs=source["differs"],
        )
        for entry in _content()["numbers"]
        if entry["defense"] == defense and _fits(source := sources[entry["source"]], report.dataset)
        for metric, theirs in entry["values"].items()
    )


def _fits(source: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a paper measured on such data; files of a data set go by its name: `npz:cifar10.npz`."""
    name = dataset.name.rpartition(":")[2].partition(".")[0]
    attribute = source["private"]
    labels = dataset.classes
    return name == source["dataset"] and dataset.task == source["task"] and (attribute is None or attribute in labels)
