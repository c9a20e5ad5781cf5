"""Markdown: what a reader sees, never too long, never markup of others."""

import html
import re

import pytest
from markdown_it import MarkdownIt

from reports.formats import junit, markdown, moved, notebook
from reports.formats.junit import render_junit
from reports.formats.markdown import LIMIT, render_markdown
from reports.formats.moved import render_moved
from reports.formats.notebook import render_short
from reports.model.report import Command, LadderControl, Settings, Source, Waiver
from tests.reports.builder import build, number, row
from tests.reports.hostile import gate, hostile
from tests.reports.sample import full, rate


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


OURS = {
    "text", "softbreak", "text_special", "strong_open", "strong_close", "inline", "fence",
    *(f"{name}_{end}" for name in ("heading", "paragraph", "bullet_list", "list_item", "table", "thead", "tbody", "tr",
                                   "th", "td") for end in ("open", "close")),
    "em_open", "em_close",
}  # fmt: skip
"""What this page is made of: no link, no picture, no HTML, no quote, no code in a line."""


def tokens(text):
    """What a parser of Markdown makes of a text."""
    found = []
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        found += [token, *(token.children or ())]
    return found


def test_many_read_the_text_itself():
    """No character references in what reports say themselves, and no sentence that breaks off."""
    control = LadderControl(
        status="matched", candidate="second-order @all", accuracy=rate(0.98), ceiling=rate(0.99), reason=""
    )
    unknown = LadderControl(status="unknown", reason="it is at chance")
    facts = full().target
    for one in (control, unknown):
        report = full(
            target=facts.model_copy(update={"control": one}),
            gates=(gate("adaptive.leakage <= 0.5", "broken"), gate("adaptive.accuracy@all <= 0.5", "held")),
            metrics={**full().metrics, "adaptive.leakage": number(-0.003, -0.04, 0.03, unit="leakage")},
        )
        text = render_markdown(report)
        assert re.findall(r".{0,30}&[#a-z0-9]+;.{0,30}", text) == []
        assert "...\n" not in text
    assert "strongest attack with all labels second-order K = all 0.980" in render_markdown(
        full(target=facts.model_copy(update={"control": control}))
    )


@pytest.mark.parametrize(
    "show", [render_markdown, render_short, render_junit, lambda report: render_moved(report, report, ())]
)
def test_the_sentence_of_the_verdict_is_whole(show, monkeypatch):
    long = "Keeps all. " + "Gives away nothing that anybody has found so far. " * 20 + "This is its end."
    for module in (markdown, moved, notebook, junit):
        monkeypatch.setattr(module, "plain_verdict", lambda _: long)
    assert "This is its end." in show(build())


def test_the_curve_stands_behind_the_gates():
    lines = render_markdown(full()).splitlines()
    place = lines.index("## What repurposing costs")
    assert lines.index("## Gates") < place < lines.index("## Numbers")
    rows = [line.strip("| ").split(" | ") for line in lines[place + 4 : lines.index("## Numbers") - 1]]
    known = full().metrics
    for labels, shown, bar in rows[:-2]:
        value = known[f"adaptive.accuracy@{labels}"]
        assert shown == f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
        assert bar.count("█") == round(20 * value.value)
    assert [row[0] for row in rows] == ["0", "1", "all", "target model", "without the release"]


CODE = re.compile(r"^(`{3,})sh\n(.*?)\n\1$", re.DOTALL | re.MULTILINE)


def check_hostile(text):
    shown = render_markdown(hostile(text))
    outside = CODE.sub("", shown)
    assert all(line.isprintable() for line in shown.split("\n"))
    # A tag has a letter, a slash or a mark behind its first character.
    assert not re.search(
        r"<(?![ =])|https?://|www\.|\]\(|`|\*\*\*|~~|(?<![A-Za-z0-9])@|[a-z]@[A-Za-z](?!ll\b)", outside
    )
    assert {token.type for token in tokens(shown)} <= OURS
    # Every row of a table has as many cells as its head.
    for block in re.findall(r"(?:^\|.*\|$\n?)+", outside, re.MULTILINE):
        assert len({line.count("|") for line in block.strip().split("\n")}) == 1
    assert len(shown.encode()) < LIMIT
    found = CODE.search(shown)
    if found is not None:
        assert found.group(1) not in found.group(2)
