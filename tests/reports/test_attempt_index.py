"""Evidence as attempts."""

import pytest

from protocols.evaluation.candidate import Candidate
from reports.model.attempt_index import AttemptIndex
from tests.reports.sample import attack, full


def test_attempts_of_several_seeds_are_one_and_never_pooled():
    rows = (attack("linear", 0.6, labels=1), attack("linear", 0.8, labels=1, seed=1))
    (one,) = AttemptIndex(full(evidence=rows)).attempts
    value = one.arm("attack")
    assert (value.value, value.low, value.high) == pytest.approx((0.7, 0.58, 0.82))
    assert one.validation == pytest.approx(0.7)


def test_an_attempt_is_named_as_its_candidate_was():
    settings = {"transform": "jpeg", "inner": "fine-tune", "options": {"model": "vgg", "scope": "all"}}
    (one,) = AttemptIndex(full(evidence=(attack("input-transform", 0.6, labels=1, **settings),))).attempts
    assert one.name == Candidate(adversary="input-transform", settings=settings).name
    assert one.name == "input-transform jpeg fine-tune vgg all"
