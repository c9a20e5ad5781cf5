"""Numbers and sentences."""

import re
from functools import partial

import pytest

from adversaries.evidence import Value
from reports.formats.csv_table import render_csv
from reports.formats.html import render_html
from reports.formats.junit import render_junit
from reports.formats.markdown import render_markdown
from reports.formats.moved import render_moved
from reports.formats.notebook import render_short
from reports.formats.sarif import render_sarif
from reports.model import numbers
from reports.model.report import Waiver
from tests.reports.builder import build, number
from tests.reports.hostile import gate


@pytest.mark.parametrize(
    ("toward", "expected"),
    [
        (frozenset({">="}), "0.999 [0.499, 1.000]"),
        (frozenset({"<"}), "1.000 [0.500, 1.001]"),
        (frozenset({">=", "<="}), "1.000 [0.499, 1.001]"),
        (frozenset(), "1.000 [0.500, 1.001]"),
    ],
)
def test_figures_round_toward_failure_in_the_gates_direction(toward, expected):
    assert numbers.figure(number(0.9996, 0.4998, 1.0006), toward) == expected


def test_figures_of_counts_and_of_the_unknown():
    assert numbers.figure(number(50, 50, 50, unit="count", censored=True)) == "> 50"
    assert numbers.figure(Value.unknown("no")) == "unknown"
    assert numbers.figure(None) == "unknown"
    assert numbers.number(-0.0001) == "0.000"


@pytest.mark.parametrize(
    "show",
    [
        render_html,
        render_markdown,
        render_junit,
        render_sarif,
        render_csv,
        render_short,
        partial(render_moved, build()),
    ],
    ids=["html", "markdown", "junit", "sarif", "csv", "notebook", "comment"],
)
def test_a_waived_gate_that_is_broken_says_so_in_every_format(show):
    waiver = Waiver(until="2030-01-01", reason="the new decoder lands", active=True)
    gates = (gate("adaptive.leakage <= 0.5", "broken", reason="the bound is 0.9", waiver=waiver),)
    report = build(gates=gates, verdict="measured")
    text = show(report, ()) if isinstance(show, partial) else show(report)
    assert re.search(r"BROKEN, WAIVED until 2030-01-01:?(</?\w+>|\s)*the new decoder lands", text)
    assert "the bound is 0.9" in text
