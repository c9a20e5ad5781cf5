"""The metric catalog: what every number of a report means, which way is better, and which protocol produces it.

Collected from the sections, and from the few numbers that every protocol produces. Nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from adversaries.evidence import Value
from reports.model.metric import Metric
from reports.model.section import SECTIONS, Section
from vfc.errors import UserError, unknown

COMMON = (
    Metric(name="target.accuracy", better="up", unit="rate", meaning="the target model on the release"),
    Metric(name="target.clean_accuracy", better=None, unit="rate", meaning="the target model on the images"),
    Metric(
        name="target.retention",
        better="up",
        unit="ratio",
        meaning="the target model on the release / the target model on the images",
    ),
    Metric(name="release.psnr", better=None, unit="dB", meaning="how much the release looks like the image"),
    Metric(name="release.ssim", better=None, unit="ssim", meaning="how much the release looks like the image"),
    Metric(name="release.compression", better=None, unit="ratio", meaning="size of the image / size of the release"),
)
"""What every protocol produces."""

_COMMON_IDENTIFIERS = ("OWASP AISVS 8.4.1",)


@cache
def sections() -> tuple[Section, ...]:
    """Every section, in the order in which they are read."""
    found = [SECTIONS.get(name)() for name in SECTIONS.cards]
    for name, section in zip(SECTIONS.cards, found, strict=True):
        if section.protocol != name:
            raise UserError(f"expected a section of the protocol {name!r}, got {section.protocol!r}", "rename one")
    return tuple(sorted(found, key=lambda section: (section.order, section.protocol)))


def protocols() -> tuple[str, ...]:
    """Names of the protocols that have a section, in the order of the sections."""
    return tuple(section.protocol for section in sections())


@cache
def metrics() -> tuple[Metric, ...]:
    """Every row of the catalog.

    Raises:
        UserError: two sections claim one name.
    """
    rows = [replace(metric, protocols=protocols(), identifiers=_COMMON_IDENTIFIERS) for metric in COMMON]
    owners = {metric.name: "every report" for metric in COMMON}
    for section in sections():
        including = tuple(other.protocol for other in sections() if section.protocol in other.includes)
        for metric in section.metrics:
            if metric.name in owners:
                raise UserError(
                    f"two sections hold the metric {metric.name!r}: {owners[metric.name]} and {section.protocol}",
                    "rename one",
                )
            owners[metric.name] = section.protocol
            producers = metric.protocols or (section.protocol, *including)
            rows.append(replace(metric, protocols=producers, identifiers=section.identifiers))
    return tuple(rows)


def lookup(name: str) -> Metric:
    """The catalog's row for a metric's full name.

    Raises:
        UserError: no metric has such a name; says which exist and which is nearest.
    """
    metric = row_of(name)
    if metric is None:
        raise unknown("metric", name, [metric.name for metric in metrics()])
    return metric


@lru_cache(maxsize=4096)
def row_of(name: str) -> Metric | None:
    """The same; None if there is none."""
    return next((metric for metric in metrics() if metric.match(name) is not None), None)


def meaning(name: str) -> str:
    """What the catalog says of a metric."""
    metric = row_of(name)
    return "this version does not know it" if metric is None else metric.meaning


def example_gate(known: Mapping[str, Value]) -> str:
    """A gate as somebody might set it, for hints: on a number that the report has.

    Args:
        known: the report's metrics by name.
    """
    for section in reversed(sections()):  # who adapts says more than who does not
        value = known.get(section.example.split(" ")[0])
        if value is not None and value.value is not None:
            return section.example
    return "target.accuracy >= 0.9"


def section_of(name: str, task: str) -> Section | None:
    """The section to which a metric belongs; None for those of every protocol and for unknown ones.

    Args:
        name: full name of the metric.
        task: name of the task label.
    """
    metric = row_of(name)
    if metric is None or metric.name in {common.name for common in COMMON}:
        return None
    first = metric.producers(name, task)[0]
    return next((section for section in sections() if section.protocol == first), None)


def producible(
    name: str,
    chosen: Sequence[str],
    *,
    task: str | None = None,
    attributes: Sequence[str] | None = None,
    grid: Sequence[int | str] | None = None,
    budgets: Sequence[str] | None = None,
) -> Metric:
    """The catalog's row of a metric, if a run can produce it.

    Args:
        name: full name of the metric.
        chosen: names of the protocols that run; `all` is understood.
        task: name of the task label; None leaves it unchecked, as for all that follow.
        attributes: names of the attacked attributes.
        grid: labelled releases per class that the budget tries; empty when the threat level grants none.
        budgets: evasion budgets as the run writes them.

    Raises:
        UserError: unknown, or no chosen protocol produces it; says what would.
    """
    metric = lookup(name)
    fields = metric.match(name) or {}
    label = fields.get("label")
    if metric.name not in {common.name for common in COMMON} and "all" not in chosen:
        producers = metric.producers(name, task)
        if not set(producers) & set(chosen):
            raise UserError(
                f"expected a metric that {' or '.join(chosen)} can produce, got {name!r}",
                f"add --protocol {' or --protocol '.join(producers)}",
            )
    private = fields.get("attribute") or (label if label != task else None)
    if private is not None and attributes is not None and private not in attributes and (task or label is None):
        raise unknown("attribute", private, attributes)
    labels = fields.get("labels")
    if grid is not None and not grid and (labels not in (None, "0") or metric.needs_labels):
        raise UserError(f"expected a metric without labelled releases below threat L2, got {name!r}", "--threat L2")
    tried = None if grid is None else [str(step) for step in grid] + (["0"] if metric.from_zero else [])
    if labels is not None and tried is not None and labels not in tried:
        raise UserError(
            f"expected K of {name!r} among {', '.join(tried)}, got {labels}", "choose one of those or another --budget"
        )
    budget = fields.get("budget")
    if budget is not None and budgets is not None and budget not in budgets:
        raise UserError(f"expected EPS of {name!r} among {', '.join(budgets)}, got {budget}", "choose one of those")
    return metric


def check_limit(name: str, number: float, floor: float | None) -> None:
    """Refuse a limit beyond what labels alone allow.

    Args:
        name: full name of the metric.
        number: the limit that a gate sets.
        floor: rate of the task's floor on the target images; None if it is not known yet.

    Raises:
        UserError: above 1 / floor for ratios over the floor, above 1 for rates, or below what is possible.
    """
    metric = lookup(name)
    maximum, minimum = metric.maximum(floor), metric.minimum()
    if maximum is not None and number > maximum * (1 + 1e-9):
        why = f"1 / floor, with a floor of {floor:.4g}" if metric.over_floor else "rates are shares: 0.2 for 20 %"
        shown = math.floor(maximum * 1000) / 1000
        raise UserError(
            f"expected a limit of {name} up to {shown:g}, got {number:g}", f"labels alone allow no more ({why})"
        )
    if minimum is not None and number < minimum:
        raise UserError(f"expected a limit of {name} of at least {minimum:g}, got {number:g}", "raise the limit")
