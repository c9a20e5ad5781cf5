"""A report in words: numbers as text, sentences about what they mean, and the command that makes them again.

Free of torch and of layout, so that every renderer can use it.
"""

from __future__ import annotations

import math
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from rich.cells import cell_len

from adversaries.evidence import Value
from reports.gate import Gate, show_bound, unmeasured
from reports.lineup import Lineup
from reports.report import Report
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
    shown = "".join(c if _prints(c, plain) else _escape(c) for c in text[:LONGEST])
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


def figure(value: Value | None, toward: frozenset[str] = frozenset()) -> str:
    """A number with its interval, or `unknown`."""
    if value is None or value.value is None:
        return "unknown"
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
    """The interval of a rate for narrow columns: `.936–.970`; empty without one."""
    if value.low is None or value.high is None:
        return ""
    low, high = (f"{bound:.3f}".removeprefix("0") for bound in (value.low, value.high))
    return f"{low}–{high}"


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
    metrics, parts = report.metrics, []
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
        parts.append("what repurposing costs was not measured, and a low transfer accuracy alone does not show privacy")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def per_class(report: Report) -> float | None:
    """Labelled releases per class that `all` stands for; None if the report does not tell."""
    part, classes = report.dataset.parts.get("pool_train"), report.dataset.classes.get(report.dataset.task)
    return None if part is None or not classes else part.size / classes


def command_words(report: Report) -> list[str]:
    """The command that makes the report again, as arguments; empty if the report does not tell.

    Built from the options that were passed, because those also hold what came from the environment or a config file.
    """
    argv, passed = report.command.argv, report.command.settings.passed
    program = PurePath(argv[0]).name if argv else "vfc"
    program = "vfc" if program in ("cli.py", "__main__.py") else program
    if not passed or program not in ("vfc", "vfc-attack"):
        return [program, *argv[1:]] if argv else []
    words = [program]
    if program == "vfc":
        words.append(argv[1] if len(argv) > 1 and not argv[1].startswith("-") else "attack")
    for name, value in passed.items():
        words += _option(name, value)
    return words


def quoted(word: str, *, plain: bool = False) -> str:
    """A word as bash and zsh read it back, on one line and without control characters."""
    if all(_prints(character, plain) for character in word):
        return shlex.quote(word)
    inner = "".join("\\" + c if c in "\\'" else c if _prints(c, plain) else _escape(c) for c in word)
    return f"$'{inner}'"


def command_lines(words: Sequence[str], width: int, *, plain: bool = False) -> list[str]:
    """The command quoted and continued over lines of at most `width` cells, ready to be pasted."""
    room = max(8, width - 6)
    lines: list[str] = []
    for word in words:
        pieces = _pieces(word, room, plain)
        first = pieces[0]
        if lines and len(pieces) == 1 and cell_len(lines[-1]) + 1 + cell_len(first) <= room:
            lines[-1] += f" {first}"
        else:
            if lines:
                lines[-1] += " \\"
            lines.append(f"    {first}" if lines else first)
        # A word longer than a line goes on at the start of the next: a space would end it.
        for piece in pieces[1:]:
            lines[-1] += "\\"
            lines.append(piece)
    return lines


def _pieces(word: str, room: int, plain: bool) -> list[str]:
    """A word in quoted pieces of at most `room` cells each."""
    if cell_len(quoted(word, plain=plain)) <= room:
        return [quoted(word, plain=plain)]
    pieces, start = [], 0
    while start < len(word):
        end = min(len(word), start + room)
        while end > start + 1 and cell_len(quoted(word[start:end], plain=plain)) > room:
            end -= 1
        pieces.append(quoted(word[start:end], plain=plain))
        start = end
    return pieces


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + {"overrides": "set", "preset": "gates"}.get(name, name).replace("_", "-")
    if value is None:
        return []
    if name == "quiet":
        return ["--quiet" if value else "--verbose"]
    if name == "resume":
        return ["--resume" if value else "--fresh"]
    if isinstance(value, bool):
        return [flag] if value else []
    words = []
    for item in value if isinstance(value, (list, tuple)) else [value]:
        text = f"{item:g}" if isinstance(item, float) and math.isfinite(item) else str(item)
        words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words


def _prints(character: str, plain: bool) -> bool:
    """Whether a character takes a place of its own: no controls, no marks that join or turn others around."""
    if character.isascii() or plain:
        return character.isascii() and character.isprintable()
    return character.isprintable() and unicodedata.category(character)[0] != "M"


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 on the way in
        code -= 0xDC00
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if character in named:
        return named[character]
    if code < 0x80 or ord(character) != code:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
