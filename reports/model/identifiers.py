"""Ids of OWASP AISVS and MITRE ATLAS for findings, where one fits. The data file names the source of each mapping."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """One entry of a framework.

    Args:
        framework: `OWASP AISVS` or `MITRE ATLAS`.
        id: as the framework writes it.
        title: what it is about.
        source: address of the text.
        metrics: beginnings of the metrics' names that it fits.
        why: why it fits.
    """

    framework: str
    id: str
    title: str
    source: str
    metrics: tuple[str, ...]
    why: str

    @property
    def label(self) -> str:
        """Framework and id in one text."""
        return f"{self.framework} {self.id}"


@cache
def all_identifiers() -> tuple[Identifier, ...]:
    """Every mapping of the data file."""
    content = json.loads((Path(__file__).parent / "identifiers.json").read_text(encoding="utf-8"))
    return tuple(Identifier(**{**entry, "metrics": tuple(entry["metrics"])}) for entry in content["identifiers"])


def identifiers(metric: str) -> tuple[Identifier, ...]:
    """The ids that fit a metric; none for a name that the catalog does not know."""
    return tuple(entry for entry in all_identifiers() if metric.startswith(entry.metrics))


def labels(metric: str) -> str:
    """The ids that fit a metric as one text, separated by semicolons."""
    return "; ".join(entry.label for entry in identifiers(metric))
