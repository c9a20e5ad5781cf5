"""One section per protocol beyond the task label, and the worst case of every protocol, driven by the catalog.

Renderers lay out the same sections; a protocol that made nothing has none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from adversaries.evidence import Value
from reports.model.attempt_index import Attempt, Lineup, best
from reports.model.catalog import METRICS, PROTOCOLS, Metric, lookup
from reports.model.report import Report
from vfc.errors import UserError

ABOUT = {
    "attribute": ("Private attributes", "What the release tells about labels that it was not made for."),
    "inversion": ("Reconstruction", "How close an attacker comes to the original images."),
    "mask-aware": ("Knowing the mask", "What an attacker gains by knowing which latent numbers are kept."),
    "leakage": ("Leakage without an attack", "Properties of the release; they inform and prove nothing."),
    "membership": ("Membership", "Whether an attacker can tell which images the defense was fitted on."),
    "linkage": ("Linkage", "Whether releases can be matched to images, or to each other."),
    "evasion": ("Evasion", "The target when its input is perturbed on purpose."),
}
"""Title and one sentence of every section, by protocol, in the order in which they are read."""

HEADLINES = {
    "transfer": ("transfer.accuracy",),
    "adaptive-probe": ("adaptive.accuracy",),
    "attribute": ("attribute.<a>.leakage", "attribute.<a>.accuracy"),
    "inversion": ("inversion.identification", "inversion.psnr"),
    "mask-aware": ("mask.gain", "mask.recovery"),
    "leakage": ("leakage.mse_bound", "leakage.jacobian.effective_rank", "leakage.dof.effective"),
    "membership": ("membership.advantage", "membership.tpr@0.01"),
    "linkage": ("linkage.image.top1", "linkage.release.top1"),
    "evasion": ("evasion.accuracy@EPS",),
}
"""Which number stands for a protocol, by its name in the catalog; the first that was measured."""


ATTACK_FREE = "leakage"
"""The protocol of numbers that nobody attacked for."""

WORST_ARMS = ("attack", "floor", "ceiling")
"""Arms that stand beside the worst case of a protocol; their unit may be another than the number's."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """What one protocol found.

    Args:
        protocol: its name.
        title, about: in words.
        numbers: its metrics by name.
        chosen: the attempts that they came from.
    """

    protocol: str
    title: str
    about: str
    numbers: tuple[tuple[str, Value], ...]
    chosen: tuple[Attempt, ...]


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The worst case of one protocol.

    Args:
        protocol: its name.
        metric: the number that stands for it; empty if it has none.
        value: that number; None if there is none.
        attempt: who reached it; None if the report does not tell.
        flags: doubts about the number or about who reached it.
        reason: why there is no number.
    """

    protocol: str
    metric: str
    value: Value | None
    attempt: Attempt | None
    flags: tuple[str, ...]
    reason: str

    @property
    def nobody(self) -> str:
        """What stands in the place of an attempt that is not there."""
        return "nothing attacks here" if self.protocol == ATTACK_FREE else "the report does not tell"


def sections(lineup: Lineup, drawn: Collection[str] = ()) -> list[Section]:
    """The sections that have something to show.

    Args:
        lineup: the attempts.
        drawn: protocols of which the sidecar holds pictures or curves.
    """
    numbers: dict[str, list[tuple[str, Value]]] = {protocol: [] for protocol in ABOUT}
    for name, value in sorted(lineup.report.metrics.items()):
        protocol = home(name, lineup.report.dataset.task)
        if protocol is not None:
            numbers[protocol].append((name, value))
    found = []
    for protocol, (title, about) in ABOUT.items():
        chosen = tuple(attempt for attempt in lineup.attempts if attempt.chosen and protocol in attempt.protocols)
        if numbers[protocol] or chosen or protocol in drawn:
            shown = tuple(numbers[protocol])
            found.append(Section(protocol=protocol, title=title, about=about, numbers=shown, chosen=chosen))
    return found


def home(name: str, task: str) -> str | None:
    """The protocol in whose section a metric stands; None if it stands elsewhere."""
    try:
        metric = lookup(name)
    except UserError:
        return None
    label = (metric.match(name) or {}).get("label")
    if label is not None:
        return None if label == task else "attribute"
    (first, *more) = metric.protocols
    return first if not more and first in ABOUT else None


def meaning(name: str) -> str:
    """What the catalog says of a metric."""
    try:
        return lookup(name).meaning
    except UserError:
        return "this version does not know it"


def worst_cases(lineup: Lineup) -> list[Worst]:
    """One row per protocol that was asked for; empty unless there are several."""
    ran = dict.fromkeys(row.protocol for row in lineup.report.evidence if row.protocol in PROTOCOLS)
    if len(ran) < 2:
        return []
    return [_worst(lineup, protocol) for protocol in PROTOCOLS if protocol in ran]


def stands_for(report: Report, protocol: str) -> str | None:
    """The number that stands for a protocol: of several the worst for the defender; None if none was measured."""
    for metric in _headlines(protocol):
        known = {name: value.value for name, value in sorted(report.metrics.items()) if metric.match(name) is not None}
        sign = -1 if metric.better == "up" else 1
        found = [(sign * value, name) for name, value in known.items() if value is not None]
        if found:
            return max(found, key=lambda pair: pair[0])[1]
    return None


def _worst(lineup: Lineup, protocol: str) -> Worst:
    report = lineup.report
    name = stands_for(report, protocol)
    if name is None:
        return Worst(
            protocol=protocol, metric="", value=None, attempt=None, flags=(), reason=_absence(lineup, protocol)
        )
    value = report.metrics[name]
    attempt = _reached(lineup, protocol, name, value)
    flags = {*value.flags, *(attempt.flags if attempt is not None else ())}
    return Worst(protocol=protocol, metric=name, value=value, attempt=attempt, flags=tuple(sorted(flags)), reason="")


def _reached(lineup: Lineup, protocol: str, name: str, value: Value) -> Attempt | None:
    """Who reached a number: the chosen attempt that shows it, else the only one on its goal."""
    if protocol in ("transfer", "adaptive-probe"):
        return lineup.source(name)
    chosen = [attempt for attempt in lineup.attempts if attempt.chosen and protocol in attempt.protocols]
    label = (lookup(name).match(name) or {}).get("attribute")
    if label is not None:
        chosen = [attempt for attempt in chosen if attempt.goal == f"attribute:{label}"]
        # Leakage is a share; the accuracy that it was computed from is what an attempt shows.
        value = lineup.report.metrics.get(f"attribute.{label}.accuracy", value)
    if protocol == "mask-aware":
        # The gain is a difference; whoever knows the mask reached it.
        return best(attempt for attempt in chosen if attempt.adversary.startswith("mask-") and attempt.arm("floor"))
    exact = [attempt for attempt in chosen if _shows(attempt, value)]
    candidates = exact or chosen
    return candidates[0] if len(candidates) == 1 or exact else None


def _shows(attempt: Attempt, value: Value) -> bool:
    attack = attempt.arm("attack")
    if attack is None or attack.value is None or value.value is None:
        return False
    return attack.unit == value.unit and abs(attack.value - value.value) < 1e-9


def _absence(lineup: Lineup, protocol: str) -> str:
    """Why a protocol has no number."""
    makers, metrics = _headlines(protocol), lineup.report.metrics.items()
    reasons = [value.reason for name, value in metrics if any(metric.match(name) is not None for metric in makers)]
    reasons += [row.reason for row in lineup.report.evidence if row.protocol == protocol]
    return next((reason for reason in reasons if reason), "it made no number")


def _headlines(protocol: str) -> list[Metric]:
    return [metric for name in HEADLINES.get(protocol, ()) for metric in METRICS if metric.name == name]
