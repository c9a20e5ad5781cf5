"""Ids of OWASP AISVS and MITRE ATLAS for findings; sections say which fit, the data file names their sources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reports.model.catalog import row_of


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """One entry of a framework.

    Args:
        framework: `OWASP AISVS` or `MITRE ATLAS`.
        id: as the framework writes it.
        title: what it is about.
        source: address of the text.
        why: why it fits.
    """

    framework: str
    id: str
    title: str
    source: str
    why: str

    @property
    def label(self) -> str:
        """Framework and id in one text."""
        return f"{self.framework} {self.id}"


@cache
def all_identifiers() -> tuple[Identifier, ...]:
    """Every mapping of the data file."""
    content = json.loads((Path(__file__).parent / "identifiers.json").read_text(encoding="utf-8"))
    return tuple(Identifier(**entry) for entry in content["identifiers"])


def identifiers(metric: str) -> tuple[Identifier, ...]:
    """The ids that fit a metric; none for a name that the catalog does not know."""
    name, *_ = metric.split(maxsplit=1) or [""]  # of a gate that cannot be read, its first word
    row = row_of(name)
    return () if row is None else tuple(entry for entry in all_identifiers() if entry.label in row.identifiers)


def labels(metric: str) -> str:
    """The ids that fit a metric as one text, separated by semicolons."""
    return "; ".join(entry.label for entry in identifiers(metric))
