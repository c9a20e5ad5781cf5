"""What a protocol says of adversaries whose packages are not there."""

import pytest

from protocols.evaluation.candidate import Candidate
from protocols.evaluation.protocol import Findings, Protocol


def protocol(**facts):
    names = ("b", "a", "b")
    return Protocol(
        name="p", threat="L4", conduct=lambda _: Findings(),
        candidates=lambda _models, _twin: tuple(Candidate(adversary=name) for name in names), **facts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "missing"),
    [
        ({}, ""),
        ({"extra": "more", "needs": ("json", "no_such_package")}, "pip install -e '.[more]' in the checkout of vfc"),
        ({"extra": "more", "needs": ("json", "csv")}, ""),
    ],
)
def test_what_is_missing_is_said_with_how_to_install_it(facts, missing):
    assert protocol(**facts).missing == missing


def test_of_every_adversary_that_could_not_run_it_is_said_once():
    rows = protocol(extra="more", needs=("no_such_package",)).not_run(3)
    assert [row.adversary for row in rows] == ["b", "a"]
    for row in rows:
        assert (row.protocol, row.goal, row.seed, row.status) == ("p", "p", 3, "not_run")
        assert (row.threat.level, row.threat.knows) == ("L4", ())
        assert row.reason == "the extra 'more' is not installed: pip install -e '.[more]' in the checkout of vfc"
