"""CV, MCR and "first fall, then rise" on rows whose answers are worked out by hand."""

import random

import pytest

from adversaries.evidence import Value
from adversaries.statistics.training_course import change, modified_change_ratio, reduction, turn


def course(*numbers, half=0.0):
    return [Value(value=x, low=x - half, high=x + half, unit="dimensions", n=9) for x in numbers]


@pytest.mark.parametrize(
    ("numbers", "cv", "mcr", "reduced"),
    [
        ((10, 4, 7), -3, 0.3, 0.3),
        ((10, 4, 12), 2, 0.8, -0.2),
        ((8, 6, 4), -4, 0.0, 0.5),
        ((4, 6, 8), 4, 1.0, -1.0),
        ((5, 5, 5), 0, 0.0, 0.0),
    ],
)
def test_the_formulas_on_exact_rows(numbers, cv, mcr, reduced):
    row = course(*numbers)
    for found, expected, unit in (
        (change(row), cv, "dimensions"),
        (modified_change_ratio(row), mcr, "ratio"),
        (reduction(row), reduced, "ratio"),
    ):
        assert found.value == pytest.approx(expected)
        assert (found.low, found.high) == pytest.approx((expected, expected))
        assert found.unit == unit


def test_intervals_add_as_squares_and_divide_by_the_outermost_start():
    row = course(10, 4, 7, half=1)
    root = 2**0.5
    assert (change(row).low, change(row).high) == pytest.approx((-3 - root, -3 + root))
    # -CV / v_0 with CV in [-3 - root, -3 + root] and v_0 in [9, 11].
    assert (reduction(row).low, reduction(row).high) == pytest.approx(((3 - root) / 11, (3 + root) / 9))
    ratio = modified_change_ratio(row)
    assert (ratio.low, ratio.high) == pytest.approx(((3 - root) / 11, (3 + root) / 9))


def test_a_minimum_at_the_end_rose_by_nothing_that_is_known():
    ratio = modified_change_ratio(course(10, 8, 7, half=1))
    assert ratio.value == ratio.low == 0
    assert ratio.high == pytest.approx(2**0.5 / 9)


@pytest.mark.parametrize(
    ("numbers", "half", "found", "position", "words"),
    [
        ((10, 4, 7), 1, True, 1, "10, then 4, then 7"),
        ((10, 4, 5), 1, False, 1, "the rise is within"),
        ((5, 4, 10), 1, False, 1, "the fall is within"),
        ((5, 4, 5), 1, False, 1, "the fall and rise is within"),
        ((10, 7, 4), 0, False, 2, "is the last"),
        ((4, 7, 10), 0, False, 0, "is the first"),
        ((3, 3, 3), 0, False, 0, "is the first"),
        ((9, 5, 2, 6, 8), 0.5, True, 2, "9, then 2, then 8"),
    ],
)
def test_fall_then_rise(numbers, half, found, position, words):
    turned = turn(course(*numbers, half=half))
    assert (turned.found, turned.position) == (found, position)
    assert words in turned.reason


def test_noise_alone_seldom_falls_and_rises():
    noise = random.Random(0)
    # Twelve looks at one true number with the 90 % intervals that such noise has.
    rows = [course(*(50 + noise.gauss(0, 1) for _ in range(12)), half=1.645) for _ in range(2000)]
    assert sum(turn(row).found is True for row in rows) / 2000 < 0.02
    real = [course(*(50 - 8 * (0 < i < 11) + noise.gauss(0, 1) for i in range(12)), half=1.645) for _ in range(200)]
    assert sum(turn(row).found is True for row in real) > 190


def test_what_is_not_known_stays_unknown_with_its_reason():
    row = [*course(10, 4), Value.unknown("a sketch does not see it", unit="dimensions")]
    for found in (change(row), modified_change_ratio(row), reduction(row)):
        assert found.value is None
        assert found.reason == "a sketch does not see it"
    assert turn(row).found is None
    assert "sketch" in turn(row).reason
    assert modified_change_ratio(course(0, 1, 2)).reason is not None
    assert reduction(course(1, 1, 1, half=2)).value is None
