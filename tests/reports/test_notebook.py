"""The short form for notebooks: the verdict, and nothing that runs."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings

from tests.reports.builder import build
from tests.reports.hostile import ANY, TEXTS, gate, hostile

TAGS = {"div", "p", "strong", "table", "tr", "td"}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.opened, self.closed, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"style"}
        self.opened.append(tag)

    def handle_endtag(self, tag):
        self.closed.append(tag)

    def handle_data(self, data):
        self.text += data


def parsed(report):
    tags = Tags()
    tags.feed(report._repr_html_())
    tags.close()
    assert sorted(tags.opened) == sorted(tags.closed)
    return tags.text


def test_short_form():
    text = parsed(build(gates=(gate("adaptive.leakage <= 0.5", "broken"),), verdict="broken"))
    assert "BROKEN 1 of 1 gate broken" in text
    assert "adaptive.leakage <= 0.5 is broken: why" in text
    assert "2.000 [1.800, 2.200]" in text


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_texts_stay_text(text):
    assert "<script>" not in hostile(text)._repr_html_()
    parsed(hostile(text))


@given(ANY)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_any_text_stays_text(text):
    parsed(hostile(text))
