"""Plans: against exact binomial power, against the gate itself, and what cannot be planned."""

import numpy as np
import pytest
import scipy.stats

from adversaries.statistics import estimates
from reports.gate.gate import Gate, judge
from reports.gate.plan import plan
from tests.reports.builder import build
from tests.reports.test_compare import hits, run
from vfc.errors import UserError


def one(text, assumed=None, **facts):
    (found,) = plan([Gate.parse(text)], assumed or {}, **facts)
    return found


@pytest.mark.parametrize(("text", "truth", "outcome"), [
    ("adaptive.accuracy <= 0.3", 0.2, "held"),
    ("adaptive.accuracy <= 0.3", 0.4, "broken"),
    ("target.accuracy >= 0.9", 0.95, "held"),
    ("target.accuracy > 0.9", 0.85, "broken"),
])  # fmt: skip
def test_rates_have_the_power_that_exact_binomials_say(text, truth, outcome):
    found = one(text, {text.split()[0]: truth})
    assert found.outcome == outcome
    gate = Gate.parse(text)

    def power(n):
        hits = np.arange(n + 1)
        upward = gate.upward == (outcome == "held")
        beta = scipy.stats.beta
        bound = beta.ppf(0.05, hits, n - hits + 1) if upward else beta.ppf(0.95, hits + 1, n - hits)
        bound = np.nan_to_num(bound, nan=0.0 if upward else 1.0)
        decided = bound > gate.number if upward else bound < gate.number
        return scipy.stats.binom.pmf(hits, n, truth)[decided].sum()

    # Simulated, on a grid with steps of 2 %, and the power of exact tests is a saw.
    assert power(found.targets) == pytest.approx(0.8, abs=0.05)
    assert power(found.targets // 2) < 0.75


def test_ratios_are_decided_as_planned():
    found = one("adaptive.suppression_ratio >= 2", {"adaptive.suppression_ratio": 3.0})
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        target, attack = rng.random(found.targets) < 0.9, rng.random(found.targets) < 0.3
        floor = np.arange(found.targets) < round(0.1 * found.targets)
        metrics = {"adaptive.suppression_ratio": estimates.suppression(target, attack, floor)}
        held += judge(build(metrics=metrics), [found.gate])[0].outcome == "held"
    assert 0.7 < held / 200 < 0.95


def test_leakage_is_decided_as_planned():
    found = one("adaptive.leakage <= 0.5", {"adaptive.leakage": 0.3})
    rng, held = np.random.default_rng(0), 0
    n = found.targets
    for _ in range(100):
        floor, ceiling, attack = rng.random(n) < 0.1, rng.random(n) < 0.95, rng.random(n) < 0.1 + 0.3 * 0.85
        metrics = {"adaptive.leakage": estimates.leakage(attack, floor, ceiling)}
        held += judge(build(metrics=metrics), [found.gate])[0].outcome == "held"
    assert 0.68 < held / 100 < 0.95


def test_a_report_gives_the_truth_and_the_spread():
    psnr = np.random.default_rng(3).normal(20, 3, 450)
    report, rows = run(hits(0, 0.5), psnr=psnr)
    found = one("inversion.psnr <= 21", report=report, rows=rows)
    z = scipy.stats.norm.ppf(0.95) + scipy.stats.norm.ppf(0.8)
    assert found.targets == int(np.ceil((z * psnr.std(ddof=1) / (21 - psnr.mean())) ** 2))
    assert "from the report" in found.assumed
    leakage = report.metrics["adaptive.leakage"].value
    assert one("adaptive.leakage <= 0.9", report=report, rows=rows).assumed.startswith(
        f"adaptive.leakage = {leakage:.4g} (from the report)"
    )
    assert one("adaptive.accuracy <= 0.9", {"adaptive.accuracy": 0.1}, report=report, rows=rows).targets < 20


def test_more_is_needed_for_less_distance_more_power_and_more_gates():
    def needed(truth, **facts):
        return one("adaptive.accuracy <= 0.3", {"adaptive.accuracy": truth}, **facts).targets

    assert needed(0.1) < needed(0.2) < needed(0.25)
    assert needed(0.2, power=0.5) < needed(0.2, power=0.95)
    gates = [Gate.parse("adaptive.accuracy <= 0.3")] * 10
    assert plan(gates, {"adaptive.accuracy": 0.2})[0].targets > needed(0.2)


def test_what_no_number_of_targets_decides():
    assert one("adaptive.accuracy <= 0.3", {"adaptive.accuracy": 0.3}).targets is None
    assert one("adaptive.labels_to_90 >= 10").targets is None
    far = one("adaptive.accuracy <= 0.3", {"adaptive.accuracy": 0.29999})
    assert far.targets is None
    assert "not even" in far.reason
    assert "a guess" in one("adaptive.leakage <= 0.5").assumed


@pytest.mark.parametrize(
    ("text", "assumed", "facts", "message"),
    [
        ("adaptive.accuracy <= 0.3", {"adaptive.acuracy": 0.2}, {}, "did you mean"),
        ("adaptive.accuracy <= 0.3", {"adaptive.accuracy": 1.2}, {}, "rate"),
        ("adaptive.accuracy <= 0.3", {"adaptive.accuracy": float("nan")}, {}, "finite"),
        ("adaptive.suppression_ratio >= 3", {"adaptive.suppression_ratio": 20.0}, {}, "allow"),
        ("adaptive.leakage <= 0.3", {"floor": 0.9, "ceiling": 0.5}, {}, "floor < ceiling"),
        ("inversion.psnr <= 20", {}, {}, "report"),
        ("adaptive.accuracy <= 0.3", {}, {"power": 1.0}, "power"),
    ],
)
def test_assumptions_that_mean_nothing_are_refused(text, assumed, facts, message):
    with pytest.raises(UserError, match=message):
        one(text, assumed, **facts)
