"""An attack below a bound voids the bound; the attack stands."""

import numpy as np
import pytest

from adversaries.evidence import Arms, Evidence, Threat, Value
from protocols.evaluation.checks.bound_check import BOUND, below_bound

SPREAD = np.random.default_rng(0).normal(scale=0.5, size=400)


def attempt(adversary, mse, rows, *, goal="reconstruction:psnr", health=()):
    """An attempt whose errors scatter around a mean squared error."""
    key = f"{adversary}/{goal}"
    errors = mse * np.exp(SPREAD) / np.exp(SPREAD).mean()
    rows[key] = -10 * np.log10(errors)
    value = Value(value=float(rows[key].mean()), low=None, high=None, unit="dB", rows=key)
    threat = Threat(level="L3", knows=("pairs",))
    return Evidence(
        protocol="inversion", adversary=adversary, goal=goal, threat=threat, seed=0, status="measured",
        arms=Arms(attack=value), health=health,
    )  # fmt: skip


def checked(*attempts, bound=0.01):
    rows = {}
    evidence = [attempt(*each[:2], rows, **(each[2] if len(each) > 2 else {})) for each in attempts]
    metrics = {
        BOUND: Value(value=bound, low=bound, high=bound, unit="mse", method="any attacker"),
        "other": Value.unknown("-"),
    }
    return below_bound(evidence, metrics, rows)


def test_the_best_attack_below_voids_the_bound_and_all_below_are_flagged():
    evidence, metrics = checked(("decoder", 0.005), ("ridge-decoder", 0.008), ("deep-prior", 0.02))
    assert [row.health for row in evidence] == [("BELOW_BOUND",), ("BELOW_BOUND",), ()]
    found = metrics[BOUND]
    assert found.value is None
    assert found.flags == ("BELOW_BOUND",)
    assert "decoder reaches a mean squared error of 0.005, below the bound of 0.01 (any attacker)" in found.reason
    assert all(row.arms.attack.value is not None for row in evidence)
    assert metrics["other"].reason == "-"


@pytest.mark.parametrize(
    "attempts",
    [
        [("decoder", 0.0099)],  # within its luck
        [("averaging", 0.001)],  # reads several releases
        [("decoder", 0.001, {"goal": "reconstruction:ssim"})],
        [("decoder", 0.001, {"health": ("NONFINITE_GUESS",)})],
        [("decoder", 0.02)],
        [],
    ],
)
def test_a_bound_that_nobody_is_clearly_below_stands(attempts):
    evidence, metrics = checked(*attempts)
    assert metrics[BOUND].value == 0.01
    assert not any("BELOW_BOUND" in row.health for row in evidence)


def test_what_the_bound_was_stays_with_its_evidence():
    rows = {}
    diagnostics = Evidence(
        protocol="leakage", adversary="diagnostics", goal="release", threat=Threat(level="L4", knows=()), seed=0,
        status="measured",
    )  # fmt: skip
    bound = Value(value=0.01, low=0.01, high=0.01, unit="mse")
    evidence, _ = below_bound([attempt("decoder", 0.001, rows), diagnostics], {BOUND: bound}, rows)
    assert evidence[1].metrics == {"bound.void": bound}


def test_without_a_bound_there_is_nothing_to_check():
    rows = {}
    evidence = [attempt("decoder", 0.001, rows)]
    for bound in (None, Value.unknown("no noise law"), Value(value=0.0, low=0.0, high=0.0, unit="mse")):
        metrics = {} if bound is None else {BOUND: bound}
        assert below_bound(evidence, metrics, rows) == (evidence, metrics)
