"""Gates: the truth table of the contract, row by row."""

import math

import numpy as np
import pytest

from adversaries.evidence import Step, Value
from adversaries.health import HONESTY, INFORMING, POWER
from adversaries.statistics import estimates
from adversaries.statistics.labels_needed import labels_needed, margin
from adversaries.statistics.levels import recompute
from reports.gate.gate import Gate, check_gates, judge, rows_needed
from reports.gate.verdict import exit_code, unmeasured, verdict
from reports.model.numbers import show_bound
from reports.model.report import DeclaredSecret, GateResult
from reports.text.phrases import verdict_sentence
from tests.reports.builder import build, number, row
from vfc.errors import UserError

METRIC = "adaptive.suppression_ratio"


def outcome(value: Value | None, operator: str, limit: float) -> str:
    metrics = {} if value is None else {METRIC: value}
    (result,) = judge(build(metrics=metrics), [Gate.parse(f"{METRIC} {operator} {limit!r}")])
    assert result.reason
    return result.outcome


@pytest.mark.parametrize(
    ("text", "metric", "operator", "limit"),
    [
        ("adaptive.suppression_ratio >= 3", METRIC, ">=", 3.0),
        ("adaptive.suppression_ratio>3.5", METRIC, ">", 3.5),
        ("  attribute.ink.leakage<=0.2 ", "attribute.ink.leakage", "<=", 0.2),
        ("evasion.accuracy@8/255 < 1e-1", "evasion.accuracy@8/255", "<", 0.1),
        ("leakage.jacobian.rank@1e-3 >= -4", "leakage.jacobian.rank@1e-3", ">=", -4.0),
    ],
)
def test_parse(text, metric, operator, limit):
    gate = Gate.parse(text)
    assert (gate.metric, gate.operator, gate.number) == (metric, operator, limit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "adaptive.accuracy",
        "adaptive.accuracy = 3",
        "adaptive.accuracy == 3",
        "adaptive.accuracy => 3",
        "adaptive.accuracy >= ",
        "adaptive.accuracy >= three",
        "adaptive.accuracy >= nan",
        "adaptive.accuracy <= inf",
        "3 <= adaptive.accuracy",
        "adaptive.accuracy >= 3 4",
        "adaptive.accuracy >= 20%",
        "adaptive.accuracy >> 3",
    ],
)
def test_what_is_no_gate_is_refused(text):
    with pytest.raises(UserError, match="expected") as error:
        Gate.parse(text)
    assert "METRIC OP NUMBER" in error.value.fix


# low, value, high of 2.0 to 4.0 around 3.0 against every limit at, between and beyond the bounds.
TABLE = {
    ">=": {1: "held", 2: "held", 2.5: "inconclusive", 3.5: "inconclusive", 4: "inconclusive", 5: "broken"},
    ">": {1: "held", 2: "inconclusive", 2.5: "inconclusive", 3.5: "inconclusive", 4: "broken", 5: "broken"},
    "<=": {1: "broken", 2: "inconclusive", 2.5: "inconclusive", 3.5: "inconclusive", 4: "held", 5: "held"},
    "<": {1: "broken", 2: "broken", 2.5: "inconclusive", 3.5: "inconclusive", 4: "inconclusive", 5: "held"},
}
CASES = [(operator, limit, expected) for operator, line in TABLE.items() for limit, expected in line.items()]


@pytest.mark.parametrize(("operator", "limit", "expected"), CASES)
def test_bounds_decide(operator, limit, expected):
    assert outcome(number(3.0, 2.0, 4.0), operator, limit) == expected


@pytest.mark.parametrize(("operator", "limit", "expected"), CASES)
@pytest.mark.parametrize("flag", [*POWER, *HONESTY, *INFORMING])
def test_flags_only_forbid_that_a_gate_holds(operator, limit, expected, flag):
    forbidden = expected == "held" and flag not in INFORMING
    found = outcome(number(3.0, 2.0, 4.0, flags=("AT_FLOOR", flag)), operator, limit)
    assert found == ("inconclusive" if forbidden else expected)


@pytest.mark.parametrize(("operator", "limit", "expected"), CASES)
def test_a_stronger_adversary_breaks_a_gate(operator, limit, expected):
    # Known exactly, because its word counts at a level that is corrected for how many are judged.
    worse = number(0.5, 0.5, 0.5) if operator in (">=", ">") else number(9.0, 9.0, 9.0)
    stronger = number(3.0, 2.0, 4.0, flags=("SELECTION_MISSED",), also=(worse,))
    assert outcome(stronger, operator, limit) == "broken"
    # Without clean honesty controls its word does not count, but the number that it was dropped from never holds.
    cheat = worse.model_copy(update={"flags": ("SHUFFLED_ABOVE_CHANCE",)})
    unclean = number(3.0, 2.0, 4.0, flags=("SELECTION_MISSED", "SHUFFLED_ABOVE_CHANCE"), also=(cheat,))
    assert outcome(unclean, operator, limit) == ("inconclusive" if expected == "held" else expected)


def candidate(hits, n=1000, *, controlled=True, name="rival", **more):
    value = estimates.rate(hits, n)
    return value.model_copy(update={"candidate": name, "controlled": controlled, **more})


def test_every_honest_candidate_is_judged_and_named():
    limit = "adaptive.accuracy <= 0.3"
    weak = candidate(200, name="chosen")
    assert outcome_of(limit, weak) == ("held", False)
    undecided = weak.model_copy(update={"others": (candidate(290, name="other"),)})
    assert outcome_of(limit, undecided) == ("inconclusive", True)
    breaking = weak.model_copy(update={"others": (candidate(400, name="other"),)})
    assert outcome_of(limit, breaking) == ("broken", True)
    # Without a clean control its word breaks nothing, and still nothing holds.
    uncontrolled = weak.model_copy(update={"others": (candidate(400, name="other", controlled=False),)})
    assert outcome_of(limit, uncontrolled) == ("inconclusive", True)
    # Who is just above the limit breaks it alone, and not as one of many.
    alone = candidate(330, name="other")
    assert outcome_of(limit, weak.model_copy(update={"others": (alone,)}))[0] == "broken"
    many = weak.model_copy(update={"others": (alone, *(candidate(100 + i) for i in range(40)))})
    assert outcome_of(limit, many)[0] == "inconclusive"
    cheat = candidate(900, name="other", flags=("NONFINITE_GUESS",))
    assert outcome_of(limit, weak.model_copy(update={"others": (cheat,)})) == ("held", False)


def test_whoever_selection_has_missed_breaks_a_gate_at_the_same_level_as_every_other():
    limit = "adaptive.accuracy <= 0.3"
    rival = candidate(330, name="other")
    weak = candidate(200, name="chosen", also=(rival,), others=(rival,))
    assert outcome_of(limit, weak) == ("broken", True)
    crowd = tuple(candidate(100 + i) for i in range(40))
    for value in (weak.model_copy(update={"others": (rival, *crowd)}), weak.model_copy(update={"others": crowd})):
        assert outcome_of(limit, value) == ("inconclusive", True)


def test_what_holds_names_whose_bound_decided():
    def reason(gate, value):
        (found,) = judge(build(metrics={"adaptive.accuracy": value}), [Gate.parse(gate)])
        assert found.outcome == ("held" if "0.5" in gate else "inconclusive")
        assert found.observed.candidate == "chosen"
        return found.reason

    weak, alone = candidate(200, name="chosen"), candidate(250, name="alone")
    both = weak.model_copy(update={"others": (candidate(240, name="second"), alone)})
    said = reason("adaptive.accuracy <= 0.5", both)
    assert said.startswith("of alone, which was not chosen, the 95 % upper bound 0.274 is at most 0.5")
    assert reason("adaptive.accuracy <= 0.25", both).startswith("of alone, which was not chosen, the 95 % upper bound")
    first = weak.model_copy(update={"others": (candidate(150, name="second"),)})
    assert reason("adaptive.accuracy <= 0.5", first).startswith("of chosen, the 95 % upper bound 0.222 is at most 0.5")


def test_a_gate_that_asks_for_a_strong_attack_is_about_the_strongest():
    strong = candidate(900, name="chosen", others=(candidate(870, name="other"),))
    assert outcome_of("adaptive.accuracy >= 0.87", strong)[0] == "held"


def outcome_of(gate, value):
    """The outcome of one gate, and whether its reason names the other candidate."""
    (found,) = judge(build(metrics={"adaptive.accuracy": value}), [Gate.parse(gate)])
    return found.outcome, "other" in found.reason


def test_an_undecided_stronger_adversary_forbids_held():
    value = number(3.0, 2.0, 4.0, also=(number(2.0, 1.2, 3.0),))
    assert outcome(value, ">=", 1.5) == "inconclusive"
    assert outcome(value, ">=", 1.1) == "held"


@pytest.mark.parametrize("operator", list(TABLE))
def test_what_is_unknown_is_inconclusive(operator):
    assert outcome(None, operator, 1) == "inconclusive"
    unknown = Value.unknown("decided by the task label")
    (result,) = judge(build(metrics={METRIC: unknown}), [Gate.parse(f"{METRIC} {operator} 1")])
    assert (result.outcome, result.reason) == ("inconclusive", "decided by the task label")
    for low, high in ((None, 4.0), (2.0, None)):
        half = Value.model_construct(**{**number(3.0, 2.0, 4.0).__dict__, "low": low, "high": high})
        assert outcome(half, operator, 1) == "inconclusive"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "low", "high"])
@pytest.mark.parametrize("operator", list(TABLE))
def test_numbers_that_are_not_finite_decide_nothing(bad, field, operator):
    # A Value refuses them; one that was made without validation must not hold or break a gate either.
    value = Value.model_construct(**{**number(3.0, 2.0, 4.0).__dict__, field: bad})
    report = build().model_copy(update={"metrics": {METRIC: value}})
    for limit in (1, 5):
        (result,) = judge(report, [Gate.parse(f"{METRIC} {operator} {limit}")])
        assert result.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("operator", "limit", "expected"),
    [
        (">=", 10, "held"),
        (">=", 50, "held"),
        (">", 50, "held"),
        (">=", 51, "inconclusive"),
        ("<=", 10, "inconclusive"),
        ("<=", 50, "inconclusive"),
        ("<=", 500, "inconclusive"),
        ("<", 50, "inconclusive"),
    ],
)
def test_censored_labels(operator, limit, expected):
    assert outcome(estimates.exact(50, censored=True), operator, limit) == expected


@pytest.mark.parametrize(
    ("operator", "limit", "expected"),
    [(">=", 10, "held"), (">", 10, "broken"), (">", 9.5, "held"), ("<=", 10, "held"), ("<", 10, "broken")],
)
def test_counts_are_compared_exactly(operator, limit, expected):
    assert outcome(estimates.exact(10), operator, limit) == expected
    assert outcome(number(10, 5, 20, unit="count"), operator, limit) == expected


def test_several_gates_share_the_level():
    value = estimates.rate(400, 450)
    metrics = {"target.accuracy": value, "target.retention": number(0.9, 0.9, 0.9)}
    limit = (value.low + estimates.rate(400, 450, 0.025).low) / 2
    gate, other = Gate.parse(f"target.accuracy >= {limit!r}"), Gate.parse("target.retention >= 0.5")
    (alone,) = judge(build(metrics=metrics), [gate])
    first, second = judge(build(metrics=metrics), [gate, other])
    assert (alone.outcome, first.outcome, second.outcome) == ("held", "inconclusive", "held")
    assert first.observed.low == pytest.approx(estimates.rate(400, 450, 0.025).low)
    assert "97.5 %" in first.reason
    assert "95 %" in alone.reason


def test_several_gates_on_bootstrapped_metrics_need_the_rows():
    generator = np.random.default_rng(0)
    table = np.array([generator.random(450) < rate for rate in (0.6, 0.5, 0.9)])
    value = estimates.leakage(*table, rows="leak")
    report = build(metrics={"adaptive.leakage": value, METRIC: number(2, 1.8, 2.2)})
    gates = [Gate.parse("adaptive.leakage <= 0.9"), Gate.parse(f"{METRIC} >= 1")]
    assert rows_needed(report, gates)
    assert not rows_needed(report, gates[:1])
    assert not rows_needed(report, [gates[1], gates[1]])
    assert judge(report, gates[:1])[0].outcome == "held"
    lost, kept = judge(report, gates)[0], judge(report, gates, {"leak": table})[0]
    assert (lost.outcome, kept.outcome) == ("inconclusive", "held")
    assert "report.safetensors" in lost.reason
    assert kept.observed.high > value.high


def test_judging_is_pure():
    report = build()
    before = report.model_dump_json()
    gates = [Gate.parse(f"{METRIC} >= 1"), Gate.parse(f"{METRIC} <= 1")]
    assert judge(report, gates) == judge(report, gates)
    assert report.model_dump_json() == before
    assert judge(report, []) == []


def results(*outcomes: str):
    limits = {"held": 1.0, "broken": 5.0, "inconclusive": 2.0}
    gates = [Gate.parse(f"{METRIC} >= {limits[name]}") for name in outcomes]
    exact = {"n11": 900, "n10": 1100, "n01": 100, "n00": 400, "floor": 0}
    found = judge(build(metrics={METRIC: estimates.suppression_from_counts(exact, 0)}), gates)
    assert [result.outcome for result in found] == list(outcomes)
    return found


@pytest.mark.parametrize(
    ("outcomes", "word", "code"),
    [
        (("held",), "held", 0),
        (("held", "held"), "held", 0),
        (("held", "broken"), "broken", 1),
        (("broken", "inconclusive"), "broken", 1),
        (("inconclusive", "broken", "held"), "broken", 1),
        (("held", "inconclusive"), "inconclusive", 3),
        (("inconclusive",), "inconclusive", 3),
    ],
)
@pytest.mark.parametrize("status", ["measured", "failed", "not_run", "not_applicable"])
def test_verdict_with_gates(outcomes, word, code, status):
    assert verdict(results(*outcomes), [row(), row("mlp", status)]) == word
    assert exit_code(word) == code


@pytest.mark.parametrize(
    ("statuses", "word", "code"),
    [
        (("measured",), "measured", 0),
        (("measured", "not_applicable"), "measured", 0),
        (("measured", "failed"), "inconclusive", 3),
        (("not_run", "measured"), "inconclusive", 3),
        ((), "inconclusive", 3),
    ],
)
def test_verdict_without_gates(statuses, word, code):
    evidence = [row(f"adversary{i}", status) for i, status in enumerate(statuses)]
    assert verdict([], evidence) == word
    assert exit_code(word) == code


def test_a_policy_names_who_is_required():
    evidence = [row("linear"), row("mlp", "failed"), row("knn", "not_applicable")]
    assert unmeasured(evidence) == ["mlp"]
    assert verdict([], evidence, ["linear", "knn"]) == "measured"
    assert verdict([], evidence, ["linear", "cnn"]) == "inconclusive"
    assert unmeasured(evidence, ["cnn", "mlp"]) == ["cnn", "mlp"]


@pytest.mark.parametrize(
    ("value", "digits", "operator", "shown"),
    [
        (2.999, 2, ">=", "2.99"),
        (2.991, 2, "<=", "3.00"),
        (0.3, 1, ">=", "0.3"),
        (0.3, 1, "<=", "0.3"),
        (-0.001, 2, ">", "-0.01"),
        (-0.001, 2, "<", "0.00"),
        (12, 0, ">=", "12"),
    ],
)
def test_display_rounds_toward_failure(value, digits, operator, shown):
    assert show_bound(value, digits, operator).replace("-0.00", "0.00") == shown


def test_reasons_say_what_was_judged():
    (held,) = judge(build(), [Gate.parse(f"{METRIC} >= 1.5")])
    assert held.reason == "the 95 % lower bound 1.80 is at least 1.5"
    (broken,) = judge(build(), [Gate.parse(f"{METRIC} >= 3")])
    assert broken.reason == "even the 95 % upper bound 2.20 is under 3"
    (open_,) = judge(build(), [Gate.parse(f"{METRIC} >= 2")])
    assert open_.reason == "the 95 % lower bound 1.80 is under 2, the upper is not"
    # A bound just short of the limit is not displayed as the limit.
    (short,) = judge(build(metrics={METRIC: number(3.1, 2.9999, 3.2)}), [Gate.parse(f"{METRIC} >= 3")])
    assert "lower bound 2.99 is under 3" in short.reason
    (flagged,) = judge(build(metrics={METRIC: number(2, 1.8, 2.2, flags=("CRASHED",))}), [Gate.parse(f"{METRIC} >= 1")])
    assert "CRASHED" in flagged.reason


def test_gates_are_checked_before_anything_runs():
    def check(text: str, protocol: str = "adaptive-probe") -> None:
        check_gates([Gate.parse(text)], [protocol], floor=0.1, task="digit", attributes=["ink"], grid=(1, 10, "all"))

    check(f"{METRIC} >= 9.5")
    check("adaptive.labels_to_90 >= 50")
    check("attribute.ink.leakage <= 0.2", "attribute")
    for text, message in (
        (f"{METRIC} >= 12", "up to 10, got 12"),
        ("adaptive.accuracy <= 20", "up to 1, got 20"),
        ("adaptive.acuracy <= 0.2", "unknown metric"),
        ("attribute.ink.leakage <= 0.2", "can produce"),
        ("adaptive.accuracy@5 <= 0.2", "got 5"),
    ):
        with pytest.raises(UserError, match=message):
            check(text)


# --- labels needed: an estimate, judged by its interval ---


def labels_value(*steps):
    """From (K, attack accuracies of the candidates) with a floor of .1 and a target of .9 on 1,000 targets."""
    target, floor = np.arange(1000) < 900, np.arange(1000) >= 900

    def one(accuracy):
        return margin(np.arange(1000) < 1000 * accuracy, floor, target, 0.5)

    curve = [Step(labels=k, margins=tuple(map(one, accuracies))) for k, accuracies in steps]
    return labels_needed(curve, recompute)


@pytest.mark.parametrize(
    ("steps", "gate", "outcome"),
    [
        (((1, [0.2]), (10, [0.4]), (50, [0.8])), ">= 10", "held"),
        (((1, [0.2]), (10, [0.4]), (50, [0.8])), ">= 50", "held"),
        (((1, [0.2]), (10, [0.49]), (50, [0.8])), ">= 50", "inconclusive"),  # at K = 10 it might be there already
        (((1, [0.2]), (10, [0.8]), (50, [0.8])), ">= 50", "broken"),
        (((1, [0.2]), (10, [0.4, 0.8]), (50, [0.8])), ">= 50", "broken"),  # by one that was not chosen
        (((1, [0.2]), (10, [0.4, 0.49]), (50, [0.8])), ">= 50", "inconclusive"),
        (((1, [0.2]), (10, [0.3]), (50, [0.4])), ">= 50", "held"),  # more than 50
        (((1, [0.2]), (10, [0.3]), (50, [0.4])), ">= 51", "inconclusive"),
        (((1, [0.2]), (10, [0.3]), (50, [0.4])), "<= 50", "inconclusive"),
        (((1, [0.2]), (10, [0.3]), (50, [0.4])), "<= 10", "broken"),
        (((1, [0.2]), (10, [0.8]), (50, [0.8])), "<= 10", "held"),
    ],
)
def test_labels_needed_are_judged_by_the_bounds_of_the_curve(steps, gate, outcome):
    found = build(metrics={"adaptive.labels_to_half": labels_value(*steps)})
    (result,) = judge(found, [Gate.parse(f"adaptive.labels_to_half {gate}")])
    assert result.outcome == outcome, result.reason


# --- an accepted secret ---


def with_secret(kind, flags=("TARGET_UNMATCHED",)):
    value = Value(value=0.2, low=0.1, high=0.3, n=400, flags=flags)
    found = build(metrics={"adaptive.accuracy": value})
    secret = DeclaredSecret(kind=kind, what="the key", bits=128, lifetime="dataset")
    return found.model_copy(update={"release": found.release.model_copy(update={"secret": secret})})


@pytest.mark.parametrize(
    ("kind", "accepted", "outcome"),
    [
        ("symmetric", ("symmetric",), "held"),
        ("symmetric", (), "inconclusive"),
        ("symmetric", ("asymmetric",), "inconclusive"),
        ("none", ("symmetric", "asymmetric"), "inconclusive"),
        ("target_weights", ("symmetric", "asymmetric"), "inconclusive"),
    ],
)
def test_only_a_secret_that_the_owner_of_the_gate_accepts_excuses_an_unmatched_target(kind, accepted, outcome):
    (result,) = judge(with_secret(kind), [Gate.parse("adaptive.accuracy <= 0.5")], accepted=accepted)
    assert result.outcome == outcome
    words = "as long as the key (128 bits, per dataset) stays secret"
    assert (words in result.reason) == (result.condition == words) == (outcome == "held")
    assert ("--accept-secret symmetric" in result.reason) == (kind == "symmetric" and outcome != "held")


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [("symmetric", ("symmetric",)), ("symmetric", ()), ("none", ("symmetric",)), ("target_weights", ("symmetric",))],
)
def test_every_gate_that_holds_says_that_it_rests_on_an_accepted_secret(kind, accepted):
    (result,) = judge(with_secret(kind, ()), [Gate.parse("adaptive.accuracy <= 0.5")], accepted=accepted)
    assert result.outcome == "held"
    words = "as long as the key (128 bits, per dataset) stays secret" if (kind,) == accepted else ""
    assert result.condition == words
    assert result.reason.endswith(words)


@pytest.mark.parametrize("flag", sorted({*POWER, *HONESTY} - {"TARGET_UNMATCHED"}))
def test_an_accepted_secret_lifts_no_other_flag(flag):
    report = with_secret("symmetric", ("TARGET_UNMATCHED", flag))
    (result,) = judge(report, [Gate.parse("adaptive.accuracy <= 0.5")], accepted=("symmetric",))
    assert result.outcome == "inconclusive"


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        (("transfer.suppression_ratio >= 3",), "the gate on transfer holds"),
        (("transfer.suppression_ratio >= 3", "transfer.accuracy <= 0.5"), "all 2 gates on transfer hold"),
        (("transfer.suppression_ratio >= 3", "adaptive.accuracy <= 0.5"), "all 2 gates hold"),
        (("adaptive.accuracy <= 0.5",), "the gate holds"),
    ],
)
def test_transfer_alone_never_ends_in_more_than_transfer(gates, words):
    held = [GateResult(expr=gate, outcome="held", observed=Value.unknown(""), reason="") for gate in gates]
    aside = held[0].model_copy(update={"expr": "adaptive.accuracy <= 0.5", "level": "warning", "outcome": "broken"})
    report = build().model_copy(update={"gates": tuple(held), "verdict": "held"})
    assert verdict_sentence(report) == words
    report = report.model_copy(update={"gates": (*held, aside)})
    assert verdict_sentence(report).startswith(f"{words}; 1 more not held")


def test_the_verdict_says_on_what_condition_it_holds():
    report = with_secret("symmetric")
    results = judge(report, [Gate.parse("adaptive.accuracy <= 0.5")], accepted=("symmetric",))
    judged = report.model_copy(update={"gates": tuple(results), "verdict": "held"})
    assert verdict_sentence(judged) == "the gate holds, as long as the key (128 bits, per dataset) stays secret"
