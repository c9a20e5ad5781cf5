"""Markdown: what a reader sees, never too long, never markup of others."""

import html
import re

import pytest

from reports.formats.markdown import LIMIT, render_markdown
from reports.model.report import Command, Settings, Source, Waiver
from tests.reports.builder import build, number, row
from tests.reports.hostile import gate, hostile


def test_golden_start():
    report = build(
        gates=(
            gate(
                "adaptive.leakage <= 0.5", "broken", reason="the bound is 0.9", source=Source(file="vfc.toml", line=4)
            ),
            gate("target.accuracy >= 0.9", "held", level="warn"),
            gate("transfer.leakage <= 0.1", "broken", waiver=Waiver(until="2030-01-01", reason="soon", active=True)),
        ),
        verdict="broken",
    )
    text = render_markdown(report)
    lines = html.unescape(text).splitlines()
    assert lines[0] == "# ❌ BROKEN"
    assert lines[2] == "1 of 1 gate broken; 1 more not held, but waived or only a warning; exit code 1."
    assert lines[4].startswith("**The target model names 97 % of the releases right.")
    start = lines.index("## Gates")
    assert lines[start + 2 : start + 7] == [
        "|  | gate | why | where |",
        "| --- | --- | --- | --- |",
        "| ❌ broken | adaptive.leakage <= 0.5 | adaptive.leakage <= 0.5 is broken: the bound is 0.9 |"
        " vfc.toml, line 4 |",
        "| ✅ held, only a warning | target.accuracy >= 0.9 | target.accuracy >= 0.9 is held: why; only a warning |"
        " command line or preset |",
        "| ❌ BROKEN, WAIVED until 2030-01-01: soon | transfer.leakage <= 0.1 | transfer.leakage <= 0.1 is BROKEN,"
        " WAIVED until 2030-01-01: soon; why | command line or preset |",
    ]
    assert "| adaptive.suppression_ratio | 2.000 [1.800, 2.200] | 450 |  | OWASP AISVS 8.4.1 |" in lines
    assert render_markdown(report) == render_markdown(report.model_copy())


@pytest.mark.parametrize("text", ["x", "界" * 500, "<b>|" * 200])
def test_never_too_long(text):
    evidence = tuple(row(f"{i}{text}", "failed").model_copy(update={"reason": f"{text}{i}"}) for i in range(2000))
    metrics = {f"{i}{text}": number(1.0, 0.5, 2.0, flags=(text,)) for i in range(3000)}
    gates = tuple(gate(f"{text}{i}", "broken", reason=text) for i in range(500))
    passed = Settings(passed={"release": text * 100})
    for facts in (
        {"evidence": evidence},
        {"metrics": metrics},
        {"gates": gates},
        {"command": Command(settings=passed)},
    ):
        shown = render_markdown(build(**facts))
        assert len(shown.encode()) < LIMIT < 64 * 1024
        assert shown.count("```") % 2 == 0
    everything = render_markdown(build(evidence=evidence, metrics=metrics, gates=gates))
    assert re.search(r"_\d+ more lines are in report.json._", everything)


CODE = re.compile(r"^(`{3,})sh\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


def check_hostile(text):
    shown = render_markdown(hostile(text))
    outside = CODE.sub("", shown)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert not re.search(r"<|https?:|www\.|\]\(|`|\*\*\*|~~", outside)
    # Every row of a table has as many cells as its head.
    for block in re.findall(r"(?:^\|.*\|$\n?)+", outside, re.MULTILINE):
        assert len({line.count("|") for line in block.strip().split("\n")}) == 1
    assert len(shown.encode()) < LIMIT
    found = CODE.search(shown)
    if found is not None:
        assert found.group(1) not in found.group(2)
