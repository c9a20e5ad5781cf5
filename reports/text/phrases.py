"""A report in words: numbers as text, and sentences about what they mean.

Free of torch and of layout, so that every renderer can use it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from adversaries.evidence import Value
from reports.gate.gate import Gate, show_bound, unmeasured
from reports.model.attempt_index import Attempt, Lineup
from reports.model.report import Report
from reports.text.sections import stands_for
from vfc.errors import UserError

LONGEST = 400
"""Texts from outside are shown up to this many characters."""

LEVELS = {
    "L0": "transfer",
    "L1": "unlabelled",
    "L2": "labelled",
    "L3": "queries",
    "L4": "white-box",
    "L5": "target access",
}
"""Threat levels in a word."""

UNITS = ("dB", "bits", "nats", "dimensions")
"""Units that are written behind a number."""

EXPECTED = (
    "A release that works carries the label, so an adaptive ratio near 1 at “all labels” is to be expected of "
    "every defense without a secret. What ranks defenses is what repurposing costs (labels needed, the ratio at small "
    "K), attribute leakage and inversion."
)


def clean(text: str, *, plain: bool = False) -> str:
    """Text from outside with everything that does not print shown as an escape, and shortened.

    Args:
        text: anything.
        plain: escape everything beyond ASCII too.
    """
    if len(text) <= LONGEST and text.isascii() and text.isprintable():
        return text
    shown = "".join(c if prints(c, plain) else escape(c) for c in text[:LONGEST])
    return shown if len(text) <= LONGEST else f"{shown}... ({len(text):,} characters)"


def cleaned(data: Any, *, plain: bool = False) -> Any:
    """JSON-like data with every text in it, keys too, made harmless by `clean`."""
    if isinstance(data, str):
        return clean(data, plain=plain)
    if isinstance(data, Mapping):
        return {cleaned(key, plain=plain): cleaned(value, plain=plain) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [cleaned(item, plain=plain) for item in data]
    return data


def short(name: str, longest: int = 24) -> str:
    """A name for a narrow column."""
    return name if len(name) <= longest else name[: longest - 3] + "..."


def operators(report: Report) -> dict[str, frozenset[str]]:
    """For every metric that a gate judges, the operators it is judged by."""
    found: dict[str, frozenset[str]] = {}
    for result in report.gates:
        try:
            gate = Gate.parse(result.expr)
        except UserError:  # a gate that cannot be read rounds nothing
            continue
        found[gate.metric] = found.get(gate.metric, frozenset()) | {gate.operator}
    return found


def number(value: float, unit: str = "rate", toward: frozenset[str] = frozenset()) -> str:
    """Three decimals, or as many as a count needs; rounded toward failure where a gate judges it.

    Args:
        value: finite.
        unit: of the `Value`.
        toward: operators of the gates.
    """
    if unit == "count":
        return f"{value:.1f}".removesuffix(".0")
    upward = {operator in (">=", ">") for operator in toward}
    if len(upward) == 1:
        return show_bound(value, 3, next(iter(sorted(toward))))
    return f"{value:.3f}".replace("-0.000", "0.000")


def figure(value: Value | None, toward: frozenset[str] = frozenset(), *, unit: bool = False) -> str:
    """A number with its interval, or `unknown`.

    Args:
        value: the number.
        toward: operators of the gates.
        unit: name the unit, if it has one, and the reason of an unknown.
    """
    if value is None or value.value is None:
        return f"unknown: {value.reason or 'no reason was given'}" if unit and value is not None else "unknown"
    if unit:
        return figure(value, toward) + (f" {value.unit}" if value.unit in UNITS else "")
    shown = number(value.value, value.unit, toward)
    if value.censored:
        return f"> {shown}"
    if value.low is None or value.high is None or value.low == value.high:
        return shown
    # Between gates of both directions neither bound may look better than it is.
    both = {operator in (">=", ">") for operator in toward} == {True, False}
    low = number(value.low, value.unit, frozenset({">="}) if both else toward)
    high = number(value.high, value.unit, frozenset({"<="}) if both else toward)
    return f"{shown} [{low}, {high}]"


def span(value: Value) -> str:
    """An interval for narrow columns, as `.936–.970` or `16.9–17.5`; empty without one."""
    if value.low is None or value.high is None:
        return ""
    bounds = [f"{one:.3f}".removeprefix("0") if abs(one) < 10 else f"{one:.1f}" for one in (value.low, value.high)]
    return "–".join(bounds)


def plain(value: Value | None) -> str:
    """A number without its interval, with its unit if it has one; a dash where there is none."""
    if value is None or value.value is None:
        return "-"
    return number(value.value, value.unit) + (f" {value.unit}" if value.unit in UNITS else "")


def maximum(report: Report, name: str) -> float | None:
    """The largest suppression ratio that labels alone allow: target / floor; None if unknown."""
    value = report.metrics.get(name)
    counts = (value.counts if value is not None else None) or {}
    if counts.get("floor") and {"n11", "n10"} <= set(counts):
        return (counts["n11"] + counts["n10"]) / counts["floor"]
    floor = Lineup(report).floor
    if floor is None or not floor.value or report.target.accuracy.value is None:
        return None
    return report.target.accuracy.value / floor.value


def granted(attempt: Attempt) -> str:
    """What an attacker had: the threat level with its word, and what it might spend besides labels."""
    parts = [f"{attempt.level} {LEVELS.get(attempt.level, '')}".strip()]
    budget = attempt.rows[0].threat.budget
    for name in ("pairs", "queries", "releases", "steps"):
        count = getattr(budget, name)
        parts += [f"{count:,} {name if count != 1 else name[:-1]}"] if count else []
    return ", ".join(parts)


def aim(attempt: Attempt) -> str:
    """What an attempt was after, and within which limits."""
    parts = [short(attempt.goal)]
    parts += [] if attempt.labels is None else [f"K = {attempt.labels}"]
    eps = attempt.settings.get("eps")
    parts += [f"within {eps:.4g}"] if isinstance(eps, (int, float)) else []
    return ", ".join(parts)


def verdict_sentence(report: Report) -> str:
    """What the verdict says, in words."""
    outcomes = [gate.outcome for gate in report.gates if gate.decides]
    total = f"{len(outcomes)} gate{'s' if len(outcomes) != 1 else ''}"
    passed = [gate for gate in report.gates if not gate.decides and gate.outcome != "held"]
    over = f"; {len(passed)} more not held, but waived or only a warning" if passed else ""
    if report.verdict == "held":
        return ("the gate holds" if len(outcomes) == 1 else f"all {total} hold") + over
    if report.verdict == "broken":
        return f"{outcomes.count('broken')} of {total} broken{over}"
    if report.verdict == "measured":
        return "everything asked for was measured; no gate " + ("decides" if report.gates else "was set") + over
    if "inconclusive" in outcomes:
        return f"no gate is broken, but {outcomes.count('inconclusive')} of {total} cannot be decided{over}"
    if not report.evidence:
        return "nothing was measured"
    missing = ", ".join(short(name) for name in unmeasured(report.evidence)[:5])
    return f"required adversaries were not measured: {missing or 'see below'}"


def meaning(report: Report) -> str:
    """One sentence on what the numbers mean."""
    metrics, parts, others = report.metrics, [], _others(report)
    floor = Lineup(report).floor
    transfer, unlabelled = metrics.get("transfer.accuracy"), metrics.get("adaptive.accuracy@0")
    if transfer is not None and transfer.value is not None:
        guess = floor.value if floor is not None else None
        low = transfer.low if transfer.low is not None else transfer.value
        where = "" if guess is None else f", {'at' if low <= guess else 'above'} the floor of {number(guess)}"
        parts.append(f"the best model that never saw a release reads {number(transfer.value)}{where}")
    if unlabelled is not None and unlabelled.value is not None:
        parts.append(f"adapting without a single label reads {number(unlabelled.value)}")
    needed = metrics.get("adaptive.labels_to_90")
    if needed is not None and needed.value is not None:
        count = number(needed.value, "count")
        releases = f"{count} labelled release{'s' if count != '1' else ''} per class"
        way = "an attacker 90 % of the way to the target"
        one = count == "1"
        without = f"even {releases} {'does' if one else 'do'} not bring {way}"
        parts.append(without if needed.censored else f"{releases} bring{'s' if one else ''} {way}")
    elif needed is not None:
        parts.append(f"what repurposing costs is unknown, because {needed.reason or 'it was not measured'}")
    else:
        alone = ", and a low transfer accuracy alone does not show privacy" if parts or not others else ""
        parts.append(f"what repurposing costs was not measured{alone}")
    text = "; ".join([*parts, *others])
    return f"{text[0].upper()}{text[1:]}."


def _others(report: Report) -> list[str]:
    """What the worst numbers about private attributes and reconstructions say."""
    found = []
    for protocol, sentence in (
        ("attribute", "the release tells {share} of what the images tell about “{label}”"),
        ("inversion", "{share} of the reconstructions are nearest to their own original"),
    ):
        name = stands_for(report, protocol)
        value = None if name is None else report.metrics[name].value
        if name is not None and value is not None and name.endswith((".leakage", ".identification")):
            label = name.removeprefix("attribute.").removesuffix(".leakage")
            found.append(sentence.format(share=f"{100 * value:.0f} %", label=short(label)))
    return found


def per_class(report: Report) -> float | None:
    """Labelled releases per class that `all` stands for; None if the report does not tell."""
    part, classes = report.dataset.parts.get("pool_train"), report.dataset.classes.get(report.dataset.task)
    return None if part is None or not classes else part.size / classes


def prints(character: str, plain: bool) -> bool:
    """Whether a character takes a place of its own: no controls, no marks that join or turn others around."""
    if character.isascii() or plain:
        return character.isascii() and character.isprintable()
    return character.isprintable() and unicodedata.category(character)[0] != "M"


def escape(character: str) -> str:
    """A character that does not print, as an escape that does."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 on the way in
        code -= 0xDC00
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if character in named:
        return named[character]
    if code < 0x80 or ord(character) != code:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
