import pytest

from adversaries.evidence import Value
from adversaries.health import HONESTY, POWER
from reports.model.attempt_index import AttemptIndex
from reports.model.report import GateResult
from reports.text.changes import REMEDIES, changes
from tests.reports.builder import number
from tests.reports.sample import GATE, full


@pytest.mark.parametrize(
    ("gate", "outcome", "observed", "expected"),
    [
        # The bound is 0.1 away from the value and the limit 0.05, so four times as many targets halve the interval.
        ("attribute.ink.accuracy <= 0.55", "inconclusive", number(0.5, 0.4, 0.6, n=100, unit="rate"), "at about 400 "),
        ("attribute.ink.accuracy <= 0.45", "inconclusive", number(0.5, 0.4, 0.6, n=100, unit="rate"), "be broken"),
        ("adaptive.suppression_ratio >= 2", "broken", number(1, 0.9, 1.1), "is at most 0.478; it is 0.964"),
        (GATE, "inconclusive", number(4, 3.5, 5, flags=("NOT_CONVERGED",)), "NOT_CONVERGED is cleared by longer"),
        ("adaptive.labels_to_90 >= 50", "broken", number(1, 1, 5, unit="count"), "comes to the other side of 50."),
        ("inversion.psnr <= 9", "inconclusive", Value.unknown("not measured"), "Made by --protocol inversion."),
        ("no gate at all", "inconclusive", Value.unknown("x"), "does not know the metric"),
        (
            "adaptive.labels_to_90 >= 80",
            "inconclusive",
            number(59.7, 59.7, 59.7, unit="count", censored=True),
            "more than 59.7 labelled releases per class",
        ),
    ],
)
def test_what_would_change_each_gate(gate, outcome, observed, expected):
    result = GateResult(expr=gate, outcome=outcome, observed=observed, reason="r")
    found = changes(AttemptIndex(full(gates=(result,))))
    assert expected in " ".join(sentence for subject, sentence in found if subject == gate)


def test_every_flag_that_forbids_holding_has_a_remedy():
    assert set(REMEDIES) == {*POWER, *HONESTY}


def test_stronger_attackers_and_budget_are_named():
    found = dict(changes(AttemptIndex(full(gates=()))))
    assert found["Stronger attackers"].startswith("No attack at L3 (queries), L4 (white-box) was tried;")
    assert "--budget standard" in found["Budget"]
    assert "No gate" in found
