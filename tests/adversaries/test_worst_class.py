"""The class that leaks most: bounds for all classes at once."""

import numpy as np
import pytest

from adversaries.statistics import estimates, levels
from adversaries.statistics.worst_class import worst_class_leakage


def tables(rng, n, classes, attack, floor=0.5, ceiling=0.9):
    """Hits of attack, floor and ceiling; `attack` is one rate per class. The last row of every second class is out."""
    made = np.stack([(rng.random((3, n)) < np.array([[rate], [floor], [ceiling]])) for rate in attack]).astype(np.uint8)
    made[::2, :, -1] = 2
    assert len(made) == classes
    return made


def test_the_worst_class_is_the_leakiest_with_bounds_at_the_corrected_level():
    rows = tables(np.random.default_rng(0), 300, 3, (0.5, 0.8, 0.6))
    value = worst_class_leakage(rows, names=(4, 5, 6))
    alone = [estimates.leakage(*table[:, (table != 2).all(0)], 0.05 / 3) for table in rows]
    assert value.value == max(one.value for one in alone) == alone[1].value
    assert value.low == max(one.low for one in alone)
    assert value.high == max(one.high for one in alone)
    assert "class 5 leaks most" in value.method
    assert (value.n, value.confidence) == (alone[1].n, 0.9)


def test_a_single_class_is_plain_leakage():
    rows = tables(np.random.default_rng(1), 200, 1, (0.7,))
    plain = estimates.leakage(*rows[0][:, :-1])
    value = worst_class_leakage(rows)
    assert (value.value, value.low, value.high) == (plain.value, plain.low, plain.high)


def test_another_level_is_computed_from_the_rows():
    rows = {"key": tables(np.random.default_rng(2), 300, 2, (0.6, 0.8))}
    value = worst_class_leakage(rows["key"], rows="key")
    again = levels.recompute(value, 0.005, rows)
    fresh = worst_class_leakage(rows["key"], 0.005, rows="key")
    assert (again.low, again.high, again.confidence) == (fresh.low, fresh.high, fresh.confidence)
    assert again.low < value.low
    assert levels.recompute(value, 0.005).low is None
    seeds = levels.over_seeds([value, value])
    assert levels.recompute(seeds, 0.005, rows).low == fresh.low


def test_classes_that_the_task_decides_are_left_out():
    rng = np.random.default_rng(3)
    decided, open_ = tables(rng, 300, 1, (0.5,), ceiling=0.5), tables(rng, 300, 1, (0.7,))
    value = worst_class_leakage(np.concatenate([decided, open_]))
    assert "1 of 2 measured, class 1 leaks most" in value.method
    assert worst_class_leakage(decided).reason == "decided by the task label"
    assert worst_class_leakage(np.full((2, 3, 5), 2)).reason == "no targets"
    with pytest.raises(ValueError, match="shape"):
        worst_class_leakage(np.zeros((3, 5)))


def test_classes_at_chance_alarm_in_few_of_many_simulations():
    # At 5 %, 30 repeats: 5 or more false alarms have a probability below 2 %.
    rng = np.random.default_rng(4)
    made = [tables(rng, 90, 4, (0.5,) * 4) for _ in range(30)]
    assert sum(worst_class_leakage(rows).low > 0 for rows in made) <= 4


def test_one_leaking_class_of_several_is_seen():
    rows = tables(np.random.default_rng(6), 300, 4, (*(0.5,) * 3, 0.9), ceiling=0.95)
    value = worst_class_leakage(rows)
    assert value.low > 0
    assert "class 3 leaks most" in value.method
