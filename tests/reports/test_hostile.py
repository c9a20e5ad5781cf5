"""Texts from an enemy stay text in every format that lists findings."""

import pytest
from hypothesis import given, settings

from tests.reports import test_csv_table, test_junit, test_markdown, test_sarif
from tests.reports.hostile import ANY, TEXTS

FORMATS = pytest.mark.parametrize("kind", [test_csv_table, test_junit, test_markdown, test_sarif])


@FORMATS
@pytest.mark.parametrize("text", TEXTS)
def test_hostile_texts_stay_text(kind, text):
    kind.check_hostile(text)


@FORMATS
@given(text=ANY)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_any_text_stays_text(kind, text):
    kind.check_hostile(text)
