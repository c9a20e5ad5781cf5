"""How many labels are needed: the margin at one number of labels, and the first number that reaches the goal."""

import math

import numpy as np
import pytest
import scipy.stats

from adversaries.evidence import Step, Value
from adversaries.statistics import estimates, levels
from adversaries.statistics.labels_needed import labels_needed, margin, margin_again, reached


def hits(*patterns):
    """Hits of attack, floor and target, from how many targets show each pattern."""
    rows = [tuple(map(int, pattern)) for pattern, count in patterns for _ in range(count)]
    return np.array(rows, dtype=bool).T


TABLE = (("111", 30), ("101", 25), ("001", 20), ("010", 6), ("100", 4), ("011", 5), ("110", 3), ("000", 7))


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_a_margin_is_students_interval_with_the_two_extremes_added(share, alpha):
    attack, floor, target = hits(*TABLE)
    value = margin(attack, floor, target, share, alpha)
    distance = attack.astype(float) - floor - share * (target.astype(float) - floor)
    padded = np.append(distance, [1.0, -1.0])
    low, high = scipy.stats.t.interval(1 - 2 * alpha, len(padded) - 1, padded.mean(), scipy.stats.sem(padded))
    assert value.value == pytest.approx(distance.mean())
    assert (value.low, value.high) == pytest.approx((low, high))
    assert (value.n, value.unit) == (100, "difference")
    assert value.confidence == pytest.approx(1 - 2 * alpha)
    assert value.counts == dict(TABLE)


@pytest.mark.parametrize(("pattern", "end"), [("100", 1.0), ("010", -1.0)])
def test_bounds_of_a_margin_hold_its_value_and_stay_in_range(pattern, end):
    value = margin(*hits((pattern, 3)), 1e-9, 0.0001)
    assert value.low <= value.value <= value.high
    assert value.value == pytest.approx(end)
    assert (value.low, value.high)[end > 0] == pytest.approx(end)
    assert (value.low, value.high) >= (-1.0, end)
    assert value.high <= 1


def test_a_margin_at_another_level_is_that_of_its_rows_and_other_numbers_have_none():
    attack, floor, target = hits(*TABLE)
    value = margin(attack, floor, target, 0.8)
    assert margin_again(value, 0.001) == margin(attack, floor, target, 0.8, 0.001)
    assert levels.recompute(value, 0.001) == margin(attack, floor, target, 0.8, 0.001)
    assert margin_again(value.model_copy(update={"counts": None}), 0.01) is None
    assert margin_again(estimates.rate(3, 10), 0.01) is None
    nobody = margin([], [], [], 0.5)
    assert (nobody.reason, nobody.unit) == ("no targets", "difference")


# --- the first K, with margins whose bounds are written by hand ---


def at(low, value, high, *, controlled=True, n=50):
    """A margin whose bounds move out with the level as `again` says."""
    return Value(value=value, low=low, high=high, n=n, unit="difference", controlled=controlled)


def again(value, alpha):
    """At a twentieth of the level both bounds move out by a tenth, and so on."""
    reach = 0.1 * math.log(0.05 / alpha, 20)
    return value.model_copy(update={"low": value.low - reach, "high": value.high + reach})


def curve(*steps):
    return [Step(labels=labels, margins=margins) for labels, *margins in steps]


REACHES = curve(
    (1, at(-0.9, -0.5, -0.2)), (5, at(-0.5, -0.1, 0.2)), (20, at(-0.2, 0.1, 0.4, n=40)), (60, at(0.3, 0.5, 0.7)),
)  # fmt: skip


def test_the_first_number_that_reaches_the_goal_with_the_first_that_might_and_that_surely_does():
    value = labels_needed(REACHES, again)
    assert (value.value, value.low, value.high, value.censored) == (20, 5, 60, False)
    assert (value.n, value.unit, value.confidence) == (40, "count", 0.9)
    assert [step.labels for step in value.curve] == [1, 5, 20, 60]


def test_a_goal_that_nobody_reaches_is_censored_at_the_largest_number():
    value = labels_needed(REACHES[:1], again)
    assert (value.value, value.low, value.high, value.censored) == (1, 1, 1, True)
    value = labels_needed(REACHES[:2], again)
    assert (value.value, value.low, value.high, value.censored) == (5, 5, 5, True)
    assert reached(REACHES[:2], again, 0.05) == (5, math.inf)
    assert reached(REACHES[:1], again, 0.05) == (math.inf, math.inf)


def test_a_margin_of_exactly_zero_reaches_the_goal():
    exact = curve((1, at(-0.1, 0.0, 0.0)), (5, at(0.2, 0.3, 0.4)))
    value = labels_needed(exact, lambda value, _: value)
    assert (value.value, value.low, value.high) == (1, 1, 5)
    assert reached(curve((1, at(0.0, 0.1, 0.2)), (5, at(0.2, 0.3, 0.4))), lambda value, _: value, 0.05).latest == 1


def test_anybody_may_be_early_and_only_whose_control_ran_clean_is_surely_there():
    chosen, early = at(-0.6, -0.3, -0.1), at(0.4, 0.5, 0.6)
    last = (9, at(0.5, 0.6, 0.7))
    assert reached(curve((1, chosen, early), last), again, 0.05) == (1, 1)
    assert reached(curve((1, chosen, at(0.4, 0.5, 0.6, controlled=False)), last), again, 0.05) == (1, 9)
    assert reached(curve((1, chosen), last), again, 0.05) == (9, 9)
    unknown = Value.unknown("nothing", unit="difference")
    assert reached(curve((1, chosen, unknown), last), lambda value, _: value, 0.05) == (1, 9)


def test_lower_bounds_are_corrected_for_the_numbers_of_labels_and_of_candidates():
    seen = []

    def remember(value, alpha):
        seen.append((value.value, alpha))
        return value

    steps = curve((1, at(-0.9, 0.1, 1), at(-0.9, 0.2, 1), at(-0.9, 0.3, 1)), (5, at(-0.9, 0.4, 1)))
    reached(steps, remember, 0.06)
    assert [pytest.approx(each) for each in seen] == [
        (0.4, 0.06), (0.4, 0.03),
        (0.1, 0.06), (0.2, 0.06), (0.3, 0.06), (0.1, 0.03), (0.2, 0.01), (0.3, 0.01),
    ]  # fmt: skip
