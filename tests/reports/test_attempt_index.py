"""Evidence as attempts."""

import pytest

from adversaries.evidence import Arms, Value
from protocols.evaluation.candidate import Candidate
from reports.model.attempt_index import Attempt, AttemptIndex, best_showing
from tests.reports.builder import row
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


def test_a_mean_over_draws_belongs_to_the_attempt_that_it_names():
    """No attempt shows a mean over draws by itself, and another one may show the same number by chance."""
    mine, other = (
        Attempt(adversary=name, settings={}, goal="task:digit", level="L2", labels=10, rows=(_shown(name, share),))
        for name, share in (("linear", 0.7), ("knn", 0.65))
    )
    assert (mine.candidate, other.candidate) == ("linear @10", "knn @10")
    mean = Value(value=0.65, low=0.6, high=0.7, n=450, candidate="linear @10")
    assert best_showing([mine, other], mean) is mine
    assert best_showing([mine, other], mean.model_copy(update={"candidate": None})) is other


def _shown(adversary, share):
    """Evidence of an attack with that accuracy."""
    value = Value(value=share, low=share - 0.05, high=share + 0.05, n=450)
    return row(adversary).model_copy(update={"arms": Arms(attack=value)})
