"""Reports whose every text comes from an enemy."""

from typing import Any

from hypothesis import strategies as st

from adversaries.evidence import Value
from reports.model.report import Command, GateResult, Report, Settings, Source, Waiver
from tests.reports.builder import build, number, row

TEXTS = (
    "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb\r\tc",
    "]]><x/>",
    "\"; DROP -- ' & < >",
    "=cmd|' /C calc'!A0",
    "-1+1",
    "@SUM(A1)",
    "| a | b |\n|---|---|",
    "![x](http://evil) [y](javascript:z) `code` **b** _i_ ~~s~~",
    "https://evil.example www.evil.example",
    "\u202eevil\u2066",
    "\ud800\udfff",
    "\ufffe\uffff\x00\x0b",
    "界" * 300,
    "```\n# owned",
    "``` ```` `````",
    "long" * 20_000,
    "",
    " ",
)
ANY = st.text(st.characters(), max_size=60)


def hostile(text: str) -> Report:
    """A report that holds the text wherever a text can stand."""
    evidence = [
        row(text, "measured").model_copy(update={"settings": {"model": text}, "health": (text,), "goal": text}),
        row(text, "failed").model_copy(update={"reason": text, "protocol": text}),
        row("linear", "not_run").model_copy(update={"reason": text}),
        row("knn", "not_applicable").model_copy(update={"reason": text}),
    ]
    gates = [
        gate(text, "broken", reason=text),
        gate("adaptive.leakage <= 0.5", "inconclusive", reason=text, source=Source(file=text, line=3)),
        gate("adaptive.accuracy <= 0.5", "broken", reason=text, waiver=Waiver(until=text, reason=text, active=True)),
        gate("target.accuracy >= 0.5", "broken", reason=text, level="warn"),
    ]
    base = build()
    return build(
        command=Command(
            argv=("vfc", text), settings=Settings(passed={"release": text}, with_defaults={"budget": text})
        ),
        dataset=base.dataset.model_copy(update={"name": text, "split": text}),
        release=base.release.model_copy(update={"name": text, "kind": text, "dtype": text, "health": (text,)}),
        evidence=tuple(evidence),
        metrics={text: number(2.0, 1.8, 2.2, flags=(text,)), f"{text} 2": Value.unknown(text)},
        gates=tuple(gates),
        verdict="broken",
    )


def gate(expr: str, outcome: str, **facts: Any) -> GateResult:
    return GateResult(**{"expr": expr, "outcome": outcome, "observed": number(2.0, 1.8, 2.2), "reason": "why", **facts})
