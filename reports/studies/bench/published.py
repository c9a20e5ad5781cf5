"""What papers print of a defense, beside what was measured here, where data set, task and attribute fit.

The numbers are in `published.json`. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from adversaries.evidence import Arm, Arms, Value
from reports.model.report import Dataset, Report

FILE = Path(__file__).with_name("published.json")
_BESIDE: tuple[Arm, ...] = ("floor", "undefended", "ceiling")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One number of a paper beside ours.

    Args:
        metric: what it is a number of.
        ours: as measured here; None if it was not.
        theirs: as printed.
        source: where.
        differs: why the two need not agree.
        controls: ours without the release, without the defense, and on the images.
    """

    metric: str
    ours: Value | None
    theirs: float
    source: str
    differs: str
    controls: Arms = field(default_factory=Arms)


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
            differs="; ".join(filter(None, (source["differs"], entry.get("differs")))),
            controls=controls(metric, report),
        )
        for entry in _content()["numbers"]
        if entry["defense"] == defense and _fits(source := sources[entry["source"]], report.dataset)
        for metric, theirs in entry["values"].items()
    )


def controls(metric: str, report: Report) -> Arms:
    """The arms beside a number: those of the evidence that it comes from; of the target model what stands for them.

    Args:
        metric: name in the catalog.
        report: what was measured here.
    """
    task, kind, name = f"task:{report.dataset.task}", *metric.split(".")[:2]
    if metric == "target.accuracy":
        floors = [row.arms.floor for row in report.evidence if row.goal == task and row.arms.floor is not None]
        return Arms(floor=next(iter(floors), None), ceiling=report.target.clean_accuracy)
    goals = (f"{kind}:{name}", f"reconstruction:{name}")  # whoever rebuilds images is named by what it does
    chosen = [row.arms for row in report.evidence if row.goal in goals and row.chosen and row.arms.attack is not None]
    # Several budgets may be chosen for; the number is about the largest one, which alone has all controls.
    return max(chosen, key=lambda arms: sum(arms.get(arm) is not None for arm in _BESIDE), default=Arms())


def _fits(source: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a paper measured on such data; files of a data set go by its name: `npz:cifar10.npz`."""
    name = dataset.name.rpartition(":")[2].partition(".")[0]
    attribute = source["private"]
    labels = dataset.classes
    return name == source["dataset"] and dataset.task == source["task"] and (attribute is None or attribute in labels)
