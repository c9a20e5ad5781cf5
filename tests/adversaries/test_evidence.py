"""A `Value` refuses numbers that no measurement can give."""

import pytest
from pydantic import ValidationError

from adversaries.evidence import Value
from adversaries.statistics import estimates


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"low": 0.6, "high": 0.4}, "low <= high"),
        ({"value": 1.1, "high": 1.2}, "rate in"),
        ({"low": -0.1}, "rate in"),
        ({"n": -1}, "n >= 0"),
        ({"n": 0}, "n > 0"),
        ({"counts": {"k": 11}}, "counts"),
        ({"counts": {"k": -1}}, "counts"),
        ({"counts": {"n11": 4, "n10": 11}}, "counts"),
        ({"value": float("nan")}, "finite"),
        ({"high": float("inf")}, "finite"),
    ],
)
def test_an_impossible_number_is_refused(facts, words):
    possible = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10, "counts": {"k": 5}}
    Value(**possible)
    with pytest.raises(ValidationError, match=words):
        Value(**{**possible, **facts})


def test_what_is_measured_is_possible():
    assert estimates.rate(0, 1).value == 0
    assert estimates.rate(0, 0).value is None
    assert estimates.exact(0.5, "rate").n == 0
    assert Value(value=12.0, low=11.0, high=13.0, unit="dB").n == 0
