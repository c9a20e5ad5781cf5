"""A third party's section: its metrics can be gated, are listed, and stand in every format."""

import io
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from rich.console import Console

from protocols.commands.list import run_list
from reports.formats.html import render_html
from reports.formats.markdown import render_markdown
from reports.gate.gate import Gate, check_gates, judge
from reports.model import catalog
from reports.model.attempt_index import AttemptIndex
from reports.model.section import SECTIONS
from reports.text import headline
from reports.text.sections import worst_cases
from tests.reports.pages import Page
from tests.reports.sample import attack, evidence, full, metrics, rate
from tests.reports.test_terminal import one_line, shown
from vfc import registry
from vfc.errors import UserError

METRIC = "theirs.ink.rate"


def forget():
    for cached in (catalog.sections, catalog.metrics, catalog.row_of):
        cached.cache_clear()
    SECTIONS.__dict__.pop("cards", None)
    for name in ("theirs", "twice"):
        SECTIONS._entries.pop(name, None)


@pytest.fixture
def installed(monkeypatch):
    """Installs an entry point of the group of sections, by name."""

    def install(name):
        points = [EntryPoint(name=name, value=f"tests.reports.theirs:{name}", group="vfc.sections")]
        monkeypatch.setattr(registry, "entry_points", lambda group, **_: points if group == "vfc.sections" else [])
        forget()

    yield install
    monkeypatch.undo()
    forget()


@pytest.fixture
def report():
    row = attack("their-attack", 0.3, protocol="theirs", goal="theirs", chosen=True)
    return full(evidence=(*evidence(), row), metrics={**metrics(), METRIC: rate(0.3)})


def test_without_a_section_the_metric_is_unknown(report):
    with pytest.raises(UserError, match=r"unknown metric 'theirs\.ink\.rate'"):
        check_gates([Gate.parse(f"{METRIC} <= 0.5")], ["theirs"])
    check_gates([Gate.parse("target.accuracy >= 0.5")], ["theirs"])
    assert METRIC in [name for name, _ in headline.others(AttemptIndex(report))]


def test_its_metrics_can_be_gated(installed, report):
    installed("theirs")
    gate = Gate.parse(f"{METRIC} <= 0.5")
    check_gates([gate], ["theirs"])
    assert [result.outcome for result in judge(report, [gate])] == ["held"]
    assert [result.outcome for result in judge(report, [Gate.parse(f"{METRIC} <= 0.1")])] == ["broken"]
    with pytest.raises(UserError, match="can produce") as error:
        check_gates([gate], ["inversion"])
    assert error.value.fix == "add --protocol theirs"
    with pytest.raises(UserError, match="up to 1, got 20"):
        check_gates([Gate.parse(f"{METRIC} <= 20")], ["theirs"])


def test_it_is_listed_and_shown_in_every_format(installed, report):
    installed("theirs")
    file = io.StringIO()
    run_list("metrics", None, Console(file=file, width=120))
    assert "theirs.<a>.rate" in file.getvalue()
    terminal = one_line(shown(report, 120))
    page = Page(render_html(report, {"theirs": np.ones(1)}))
    for text in (terminal, page.text):
        assert "What a third party measures." in text
        assert "their rate" in text
        assert "their number was measured." in text
    assert "Their number" in page.headings
    assert any(drawn["class"] == "small" for drawn in page.every("svg"))
    assert "theirs.ink.rate" in render_markdown(report).replace("&#46;", ".")
    found = next(worst for worst in worst_cases(AttemptIndex(report)) if worst.protocol == "theirs")
    assert (found.metric, found.attempt.name) == (METRIC, "their-attack")


def test_two_sections_cannot_claim_one_metric(installed):
    installed("twice")
    with pytest.raises(UserError, match=r"two sections hold the metric 'mask.gain': mask-aware and twice"):
        catalog.metrics()
