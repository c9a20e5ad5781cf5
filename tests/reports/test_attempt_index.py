"""Evidence as attempts."""

import pytest

from reports.model.attempt_index import AttemptIndex
from tests.reports.sample import attack, full


def test_attempts_of_several_seeds_are_one_and_never_pooled():
    rows = (attack("linear", 0.6, labels=1), attack("linear", 0.8, labels=1, seed=1))
    (one,) = AttemptIndex(full(evidence=rows)).attempts
    value = one.arm("attack")
    assert (value.value, value.low, value.high) == pytest.approx((0.7, 0.58, 0.82))
    assert one.validation == pytest.approx(0.7)
