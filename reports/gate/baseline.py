"""No metric may get worse: a report judged against an accepted one, and the ratchet file that keeps the accepted one.

A metric **holds** if the bound that speaks against the defender shows no loss beyond the tolerance, or if the results
are equal on every target; it is **broken** if even the opposite bound shows such a loss; else it is **inconclusive**,
and the reason names the tolerance that the data can exclude. Fails closed: what was known and is not any more, or is
known only from adversaries that came into doubt, does not hold.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from adversaries.evidence import Value
from adversaries.health import HONESTY, MEANINGS, forbids_holding
from reports.gate.compare import Change, Rows, apart, change, same_targets
from reports.model.catalog import lookup
from reports.model.files import REPORT, SIDECAR, json_bytes, write_all
from reports.model.report import INTERRUPTED, Outcome, Report
from reports.model.storage import load, refuse_partial
from vfc.errors import UserError

HISTORY = "history.json"
ABSOLUTE = ("rate", "difference", "leakage", "ssim")
"""Units whose tolerance is a difference; that of all others is a share of the old value."""


@dataclass(frozen=True, kw_only=True)
class Regression:
    """One directed metric against the baseline.

    Args:
        metric: full name.
        outcome: held, broken or inconclusive.
        reason: why, in words.
        paired: whether results were compared image by image.
    """

    metric: str
    outcome: Outcome
    reason: str
    paired: bool


def directed(old: Report) -> list[str]:
    """The metrics of a baseline that have a direction and a number."""
    return [name for name, value in sorted(old.metrics.items()) if value.value is not None and _direction(name)]


def against(
    report: Report, rows: Rows, old: Report, old_rows: Rows, *, tolerance: float = 0.0, alpha: float
) -> list[Regression]:
    """Judge every directed metric that the baseline knows.

    Args:
        report, rows: the run to judge, and its sidecar.
        old, old_rows: the baseline.
        tolerance: what may be lost: a difference of rates, leakage and SSIM, a share of the old value otherwise; >= 0.
        alpha: one-sided level of each bound, already corrected.

    Raises:
        UserError: the tolerance is negative or not finite, or the two runs are about different tasks.
    """
    if not math.isfinite(tolerance) or tolerance < 0:
        raise UserError(f"expected a tolerance of at least 0, got {tolerance!r}", "for instance --tolerance 0.02")
    refuse_partial(old, "as the baseline")
    tasks = [f"{run.dataset.task} with {run.dataset.classes.get(run.dataset.task)} classes" for run in (report, old)]
    if tasks[0] != tasks[1]:
        raise UserError(f"expected a baseline of task {tasks[0]}, got {tasks[1]}", "accept a report of the same task")
    found = [_judge(name, report, rows, old, old_rows, tolerance, alpha) for name in directed(old)]
    if report.status == "complete":
        return found
    return [replace(each, outcome="inconclusive", reason=f"{INTERRUPTED}; {each.reason}") for each in found]


def _judge(
    name: str, report: Report, rows: Rows, old: Report, old_rows: Rows, tolerance: float, alpha: float
) -> Regression:
    before, after = old.metrics[name], report.metrics.get(name)

    def result(outcome: Outcome, reason: str, paired: bool = False) -> Regression:
        return Regression(metric=name, outcome=outcome, reason=reason, paired=paired)

    if after is None or after.value is None:
        reason = "it was not measured" if after is None else after.reason or "it is unknown"
        return result("inconclusive", f"the baseline has {before.value:.3f}, but now {reason}")
    doubts = set(before.flags) & set(HONESTY)
    if doubts:
        return result("inconclusive", f"the baseline itself is in doubt: {_meanings(doubts)}")
    sign = _direction(name)
    found = change(name, old, old_rows, report, rows, alpha)
    outcome, reason = _compare(found, sign, tolerance)
    reason += f" ({found.method})" if found.method else ""
    if outcome != "broken":
        for rival in _rivals(before, after):
            theirs, why = _compare(_against_rival(name, before, rival, alpha, old_rows, rows), sign, tolerance)
            if theirs == "broken":
                return result(theirs, f"of an adversary stronger than the chosen one, {why}")
            if theirs == "inconclusive" and outcome == "held":
                outcome, reason = theirs, f"of an adversary stronger than the chosen one, {why}"
    # What was in doubt when the baseline was accepted is no news.
    flags = tuple(flag for flag in forbids_holding(after.flags) if flag not in before.flags)
    if outcome == "held" and flags:
        outcome, reason = "inconclusive", f"{reason}, but the number is in doubt: {_meanings(flags)}"
    return result(outcome, reason, found.paired)


def _rivals(before: Value, after: Value) -> list[Value]:
    """Honest adversaries clearly stronger than the chosen one that the baseline did not have."""
    return [other for other in after.also if other not in before.also and not set(other.flags) & set(HONESTY)]


def _against_rival(name: str, old: Value, rival: Value, alpha: float, old_rows: Rows, rows: Rows) -> Change:
    if old.value is None or rival.value is None:
        return Change(metric=name, old=old, new=rival, level=alpha)
    low, high = apart(old, rival, alpha, old_rows, rows)
    return Change(metric=name, old=old, new=rival, difference=rival.value - old.value, low=low, high=high, level=alpha)


def _compare(found: Change, sign: int, tolerance: float) -> tuple[Outcome, str]:
    """Outcome of one change; `sign` is 1 if larger is better for the defender, else -1."""
    old, new = found.old, found.new
    if old.value is None or new.value is None or found.difference is None:
        return "inconclusive", "there is nothing to compare"
    margin = tolerance if old.unit in ABSOLUTE else tolerance * abs(old.value)
    both = f"{old.value:.4g} before, {new.value:.4g} now"
    if old.censored or new.censored:
        return _censored(old, new, margin, both)
    if found.same:
        return "held", f"{both}, unchanged"
    if found.low is None or found.high is None:
        return "inconclusive", f"{both}, and the bounds of the difference are unknown"
    least, most = (found.low, found.high) if sign > 0 else (-found.high, -found.low)
    better, worse = (found.rose, found.fell) if sign > 0 else (found.fell, found.rose)
    if margin == 0 and worse is not None and better is not None:
        if worse <= found.level:
            return "broken", f"{both}: worse, and luck explains that with p = {worse:.2g}"
        if better <= found.level:
            return "held", f"{both}: better, and luck explains that with p = {better:.2g}"
    elif most < -margin:
        return "broken", f"{both}: worse by at least {_short(-most)}"
    elif least >= -margin:
        return "held", f"{both}: worse by at most {_short(max(0.0, -least))}"
    needed = -least if old.unit in ABSOLUTE else -least / abs(old.value) if old.value else math.inf
    hint = f", --tolerance {math.ceil(needed * 1000) / 1000:g} would hold" if math.isfinite(needed) else ""
    return "inconclusive", f"{both}: a loss of up to {_short(max(0.0, -least))} cannot be excluded{hint}"


def _censored(old: Value, new: Value, margin: float, both: str) -> tuple[Outcome, str]:
    """At least one number is only known to be larger than the largest budget tried; larger is better."""
    before, after = float(old.value or 0), float(new.value or 0)
    if new.censored:
        if after >= (before if old.censored else (old.high or before)) - margin:
            return "held", f"{both}, more than the largest budget tried"
        return "inconclusive", f"{both}, and a smaller budget was tried than before"
    if (new.high or after) < before - margin:
        return "broken", f"{both}, before more than the largest budget tried"
    return "inconclusive", f"{both}, before more than the largest budget tried"


def _direction(name: str) -> int:
    """1 if larger is better for the defender, -1 if smaller is, 0 if neither or the metric is unknown."""
    try:
        return {"up": 1, "down": -1, None: 0}[lookup(name).better]
    except UserError:
        return 0


def _meanings(flags: Any) -> str:
    return "; ".join(f"{flag}, {MEANINGS[flag]}" for flag in sorted(flags))


def _short(number: float) -> str:
    return f"{math.ceil(number * 10_000) / 10_000:g}"


def accept(path: Path | str, folder: Path, reason: str, today: date) -> list[str]:
    """Make a report the baseline: copy it with its sidecar, and write down what it replaces and why.

    Args:
        path: report.json, or the folder that holds it.
        folder: the baseline, made if it does not exist; meant to be committed.
        reason: why, for whoever reads the history.
        today: the day that the history names.

    Returns:
        What changed, in sentences.

    Raises:
        UserError: no reason, an unreadable report, a missing sidecar, or a history that is not one.
    """
    if not reason.strip():
        raise UserError("expected a reason, got an empty one", 'say why with --reason "..."')
    report = load(path)
    refuse_partial(report, "as the baseline")
    source = Path(path) / REPORT if Path(path).is_dir() else Path(path)
    sidecar = source.with_suffix(".safetensors")
    if not sidecar.is_file():
        raise UserError(f"expected the per-target rows at {sidecar}, got no such file", "keep it beside the report")
    history = read_history(folder)
    foreign = [name for name in (REPORT, SIDECAR) if not history and (folder / name).exists()]
    if foreign:
        raise UserError(
            f"expected an earlier baseline or an empty folder, got {folder} with a {foreign[0]} and no {HISTORY}",
            "choose another folder: nothing is overwritten that no one accepted",
        )
    metrics = {name: report.metrics[name].value for name in directed(report)}
    entry = {
        "date": today.isoformat(),
        "reason": reason.strip(),
        "digest": report.digest,
        "replaces": history[-1]["digest"] if history else None,
        "release": report.release.name,
        "metrics": metrics,
    }
    written = json_bytes([*history, entry])
    contents = {SIDECAR: sidecar.read_bytes(), REPORT: source.read_bytes(), HISTORY: written}
    write_all({folder / name: content for name, content in contents.items()})
    before = history[-1]["metrics"] if history else {}
    return [
        f"{name}: {before[name]:.4g} -> {value:.4g}"
        for name, value in metrics.items()
        if isinstance(before.get(name), (int, float)) and before[name] != value
    ]


def read_history(folder: Path) -> list[dict[str, Any]]:
    """What was accepted so far, oldest first.

    Raises:
        UserError: the file is there and is no history.
    """
    file = folder / HISTORY
    if not file.exists():
        return []
    try:
        history: list[dict[str, Any]] = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"expected a history in {file}, got {error}", "restore it from version control") from None
    whole = isinstance(history, list) and all(
        isinstance(entry, dict) and isinstance(entry.get("digest"), str) and isinstance(entry.get("metrics"), dict)
        for entry in history
    )
    if not whole:
        raise UserError(f"expected a history in {file}, got other JSON", "restore it from version control")
    return history


def described(old: Report, new: Report) -> str:
    """Whether the comparison is paired, in a sentence."""
    if same_targets(old, new):
        return "both runs graded the same target images, so results are paired image by image where they are stored"
    return "the target images differ, so the intervals are compared, which needs a larger difference"
