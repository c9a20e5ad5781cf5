"""Numbers and sentences."""

import pytest

from adversaries.evidence import Value
from reports.model import numbers
from tests.reports.builder import number


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
