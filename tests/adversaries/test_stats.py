"""Statistics against closed forms, scipy.stats and simulation."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from adversaries.evidence import Value
from adversaries.statistics import estimates, intervals, levels


def rows(n11: int, n10: int, n01: int, n00: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.repeat([True, True, False, False], [n11, n10, n01, n00])
    second = np.repeat([True, False, True, False], [n11, n10, n01, n00])
    return first, second


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (20, 20), (1, 1), (7, 20), (441, 450), (3, 5000)])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_rate_is_clopper_pearson(hits, n, alpha):
    value = estimates.rate(hits, n, alpha)
    exact = scipy.stats.binomtest(hits, n).proportion_ci(1 - 2 * alpha, method="exact")
    assert (value.value, value.n, value.counts) == (hits / n, n, {"k": hits})
    assert (value.low, value.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert value.confidence == pytest.approx(1 - 2 * alpha)


def test_rate_of_nobody_is_unknown():
    assert estimates.rate(0, 0).value is None
    with pytest.raises(ValueError, match="expected hits in"):
        estimates.rate(3, 2)


@pytest.mark.parametrize(("k", "n", "p"), [(0, 10, 0.1), (1, 10, 0.1), (7, 10, 0.5), (11, 10, 0.5), (60, 450, 0.1)])
def test_binomial_upper_tail(k, n, p):
    assert estimates.binomial_upper_tail(k, n, p) == pytest.approx(scipy.stats.binom.sf(k - 1, n, p), abs=1e-12)


def test_mcnemar_is_the_exact_one_sided_test():
    exact = scipy.stats.binomtest(15, 20, 0.5, alternative="greater").pvalue
    assert estimates.mcnemar(15, 5) == pytest.approx(exact)
    assert estimates.mcnemar(0, 0) == 1.0


def test_the_bound_on_the_side_of_one_is_the_paired_log_bound():
    target, attack = rows(150, 200, 30, 120)
    floor = np.arange(500) < 50
    value = estimates.suppression(target, attack, floor)
    spread = 1.6448536269514722 * math.sqrt((200 + 30 + 1) / (350.5 * 180.5))
    assert value.value == pytest.approx(350 / 180)
    assert value.low == pytest.approx(350.5 / 180.5 * math.exp(-spread))
    assert value.counts == {"n11": 150, "n10": 200, "n01": 30, "n00": 120, "floor": 50}
    # The other bound falls back to Clopper-Pearson on each rate.
    top = scipy.stats.binomtest(350, 500).proportion_ci(0.95, method="exact").high
    bottom = scipy.stats.binomtest(180, 500).proportion_ci(0.95, method="exact").low
    assert value.high == pytest.approx(top / bottom)


def test_with_many_discordant_pairs_near_one_both_bounds_are_the_log_interval():
    first, second = rows(2000, 420, 400, 2180)
    value = estimates.retention(first, second)
    spread = 1.6448536269514722 * math.sqrt(821 / (2420.5 * 2400.5))
    center = math.log(2420.5 / 2400.5)
    assert (value.low, value.high) == pytest.approx((math.exp(center - spread), math.exp(center + spread)))


def test_few_discordant_pairs_fall_back_on_both_sides():
    first, second = rows(430, 2, 3, 15)
    value = estimates.retention(first, second)
    rate = {k: scipy.stats.binomtest(k, 450).proportion_ci(0.95, method="exact") for k in (432, 433)}
    assert value.low == pytest.approx(rate[432].low / rate[433].high)
    assert value.high == pytest.approx(rate[432].high / rate[433].low)


def test_suppression_never_exceeds_its_maximum():
    target, attack = rows(0, 440, 0, 10)
    floor = np.arange(450) < 45
    value = estimates.suppression(target, attack, floor)
    top = scipy.stats.binomtest(440, 450).proportion_ci(0.95, method="exact").high
    assert value.value == pytest.approx(440 / 45)
    assert value.high == pytest.approx(top / 0.1)
    assert value.high <= 10


def test_without_any_hit_below_there_is_no_ratio():
    target, attack = rows(0, 9, 0, 1)
    value = estimates.suppression(target, attack, np.zeros(10, dtype=bool))
    assert (value.value, value.low, value.high) == (None, None, None)
    assert estimates.suppression(target, target, attack).method == estimates.SUPPRESSION
    assert estimates.retention(target, target).method == estimates.RATIO
    assert value.reason.startswith("neither the attack nor the floor was ever right")
    assert "no upper end" in value.reason
    retention = estimates.retention(target, np.zeros(10, dtype=bool))
    assert retention.value is None
    assert retention.reason.startswith("the denominator was never ever right")
    assert estimates.retention(*rows(0, 0, 0, 0)).reason == "no targets"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    table=st.tuples(*[st.integers(0, 60)] * 4),
    floor=st.integers(0, 240),
    alpha=st.sampled_from([0.05, 0.005, 0.0005]),
)
def test_suppression_is_finite_ordered_and_capped(table, floor, alpha):
    n = sum(table)
    floor = min(floor, n)
    names = ("n11", "n10", "n01", "n00")
    value = estimates.suppression_from_counts(dict(zip(names, table, strict=True)), floor, alpha)
    if n == 0 or table[0] + table[2] + floor == 0:
        assert value.value is None
        return
    assert 0 <= value.low <= value.value <= value.high < math.inf
    assert value.value == pytest.approx((table[0] + table[1]) / max(table[0] + table[2], floor))
    if floor:
        assert value.high <= n / floor * (1 + 1e-12)


@pytest.mark.parametrize(
    ("n", "floor", "target", "attack", "joint"),
    [
        (450, 45, 0.97, 0.10, 0.097),  # attack exactly at the floor, where two upper bounds compete
        (450, 45, 0.73, 0.10, 0.073),
        (450, 45, 0.73, 0.0, 0.0),
        (100, 10, 1.0, 0.98, 0.98),  # two discordant pairs, the attack nested in the target
        (500, 5, 0.7, 0.002, 0.002),
        (500, 0, 0.5, 0.01, 0.005),
        (500, 250, 0.9, 0.55, 0.5),
        (2000, 200, 0.7, 0.69, 0.66),
        (2000, 20, 0.05, 0.5, 0.025),
        (2000, 20, 0.7, 0.13, 0.13),
    ],
)
def test_bounds_miss_at_most_five_percent(n, floor, target, attack, joint):
    generator, runs = np.random.default_rng(11), 20_000
    cells = np.clip([joint, target - joint, attack - joint, 1 - target - attack + joint], 0, 1)
    bounds = intervals.ratio_bounds(*generator.multinomial(n, cells, size=runs).T, floor, 0.05)
    truth = target / max(attack, floor / n)
    for misses in ((bounds.low > truth * (1 + 1e-9)).sum(), (bounds.high < truth * (1 - 1e-9)).sum()):
        assert intervals.clopper_pearson(misses, runs, 0.01)[0] <= 0.05


def three(seed: int, n: int, floor: float, attack: float, ceiling: float) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.random(n) < rate for rate in (attack, floor, ceiling)]


def test_leakage_agrees_with_another_bca_bootstrap():
    attack, floor, ceiling = three(1, 450, 0.5, 0.62, 0.9)
    value = estimates.leakage(attack, floor, ceiling)

    def statistic(a, f, c, axis=-1):
        return (a.mean(axis) - f.mean(axis)) / (c.mean(axis) - f.mean(axis))

    other = scipy.stats.bootstrap(
        (attack, floor, ceiling),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=4000,
        confidence_level=0.90,
        method="BCa",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert value.value == pytest.approx((attack.sum() - floor.sum()) / (ceiling.sum() - floor.sum()))
    assert (value.low, value.high) == pytest.approx((other.low, other.high), abs=0.02)


def test_leakage_keeps_its_seed_and_touches_no_global_state():
    attack, floor, ceiling = three(3, 450, 0.5, 0.62, 0.9)
    before = np.random.get_state()[1].copy()
    assert estimates.leakage(attack, floor, ceiling, seed=5) == estimates.leakage(attack, floor, ceiling, seed=5)
    assert estimates.leakage(attack, floor, ceiling, seed=5) != estimates.leakage(attack, floor, ceiling, seed=6)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("equal_to", ["floor", "ceiling"])
def test_leakage_of_an_attack_that_never_differs_still_has_a_width(equal_to):
    _, floor, ceiling = three(4, 450, 0.1, 0.5, 0.95)
    value = estimates.leakage(floor if equal_to == "floor" else ceiling, floor, ceiling)
    truth = 0.0 if equal_to == "floor" else 1.0
    assert value.value == pytest.approx(truth)
    assert value.low < truth - 0.001
    assert value.high > truth + 0.001


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_exact_leakage_holds_its_four_rates_together(alpha):
    # Neither attack nor floor ever right, the images always: four rates of which n out of n or 0 out of n were seen,
    # whose bounds have a closed form. All hold together at alpha if each holds at a quarter of it.
    n = 50
    counts = np.array([0, n, 0, 0, 0, 0, 0, 0])
    rare = 1 - (alpha / 4) ** (1 / n)
    low, high = intervals.exact_leakage(counts, alpha)
    assert float(high) == pytest.approx(rare / ((1 - rare) - rare))
    assert float(low) == pytest.approx(-rare / ((1 - rare) - rare))


def test_leakage_is_unknown_where_images_show_no_more_than_the_floor():
    attack, floor, ceiling = three(5, 450, 0.5, 0.5, 0.52)
    assert estimates.leakage(attack, floor, ceiling).reason == "decided by the task label"
    assert estimates.leakage([], [], []).reason == "no targets"


def test_leakage_covers():
    generator, runs, misses = np.random.default_rng(6), 400, [0, 0]
    cells = np.array([0.04, 0.18, 0.02, 0.26, 0.01, 0.17, 0.02, 0.30])
    rates = cells @ intervals.PATTERNS
    truth = (rates[0] - rates[1]) / (rates[2] - rates[1])
    for seed in range(runs):
        _, low, high = intervals.leakage_bounds(generator.multinomial(450, cells), 0.05, seed)
        misses = [misses[0] + (low > truth), misses[1] + (high < truth)]
    for found in misses:
        assert intervals.clopper_pearson(found, runs, 0.01)[0] <= 0.05


def test_mean_has_student_bounds():
    values = np.random.default_rng(7).normal(20, 3, 50)
    value = estimates.mean(values, "dB")
    low, high = scipy.stats.t.interval(0.9, 49, values.mean(), scipy.stats.sem(values))
    assert (value.value, value.low, value.high) == pytest.approx((values.mean(), low, high))
    assert estimates.mean([1.0], "dB").value is None
    assert estimates.mean([1.0, math.nan], "dB").value is None


def test_over_seeds_keeps_the_widest_bounds_and_one_evaluation_worth_of_trials():
    values = [estimates.rate(40, 100), estimates.rate(50, 100), estimates.rate(45, 100)]
    value = levels.over_seeds(values)
    assert (value.value, value.n, value.per_seed) == (pytest.approx(0.45), 100, (0.4, 0.5, 0.45))
    assert (value.low, value.high) == (values[0].low, values[1].high)
    again = levels.recompute(value, 0.005)
    assert (again.low, again.high) == (estimates.rate(40, 100, 0.005).low, estimates.rate(50, 100, 0.005).high)
    assert levels.over_seeds(values[:1]) == values[0]
    assert levels.over_seeds([values[0], Value.unknown("crashed", flags=("CRASHED",))]).reason == "crashed"


def test_recompute_from_counts_and_rows():
    rate = estimates.rate(30, 100)
    assert levels.recompute(rate, 0.01) == estimates.rate(30, 100, 0.01)
    target, attack = rows(40, 300, 8, 102)
    floor = np.arange(450) < 45
    flagged = estimates.suppression(target, attack, floor).model_copy(update={"flags": ("AT_FLOOR",)})
    fresh = estimates.suppression(target, attack, floor, 0.01)
    assert levels.recompute(flagged, 0.01) == fresh.model_copy(update={"flags": ("AT_FLOOR",)})

    table = np.array(three(8, 450, 0.5, 0.62, 0.9))
    value = estimates.leakage(*table, seed=9, rows="leak")
    assert levels.needs_rows(value)
    assert not levels.needs_rows(rate)
    assert levels.recompute(value, 0.01, {"leak": table}) == estimates.leakage(*table, alpha=0.01, seed=9, rows="leak")
    lost = levels.recompute(value, 0.01)
    assert (lost.value, lost.low, lost.high) == (value.value, None, None)
    assert "report.safetensors" in lost.reason
    values = [estimates.leakage(*table, seed=s, rows=f"leak{s}") for s in (1, 2)]
    both = levels.recompute(levels.over_seeds(values), 0.01, {"leak1": table, "leak2": table})
    again = [estimates.leakage(*table, alpha=0.01, seed=s) for s in (1, 2)]
    assert (both.low, both.high) == (min(v.low for v in again), max(v.high for v in again))


def test_without_a_known_method_there_are_no_new_bounds():
    value = estimates.leakage(*three(8, 450, 0.5, 0.62, 0.9), rows="leak").model_copy(update={"method": "of old"})
    again = levels.recompute(value, 0.01, {"leak": np.zeros((2, 3, 4))})
    assert (again.value, again.low, again.high) == (value.value, None, None)


def test_what_is_unknown_keeps_its_unit():
    assert estimates.suppression([], [], []).unit == "ratio"
    assert estimates.difference([], []).unit == "difference"
    assert estimates.leakage([], [], []).unit == "leakage"


def test_importing_statistics_and_gates_imports_nothing_heavy():
    code = (
        "import sys, adversaries.statistics.estimates, reports.gate.gate;"
        "print([name for name in ('torch', 'numpy', 'scipy', 'safetensors') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


EIGHT_COUNTS = (
    (3, 5, 2, 9, 4, 20, 6, 11), (30, 1, 4, 9, 2, 3, 1, 40), (2, 3, 9, 1, 20, 1, 8, 5),
    # The ceiling clearly below the floor: nothing is divided by less than one target.
    (5, 0, 0, 0, 20, 0, 30, 2),
)  # fmt: skip


@pytest.mark.parametrize("counts", EIGHT_COUNTS)
def test_exact_leakage_is_made_of_four_exact_intervals(counts):
    # From the floor up, or from the ceiling down, whichever the attack differs less from.
    patterns = [tuple(map(int, f"{code:03b}")) for code in range(8)]  # attack, floor, ceiling
    n = sum(counts)

    def rate(one, other):
        k = sum(count for pattern, count in zip(patterns, counts, strict=True) if pattern[one] > pattern[other])
        return k, scipy.stats.binomtest(k, n).proportion_ci(1 - 2 * 0.05 / 4, method="exact")

    def fraction(one, other):
        (_, more), (_, less), (_, up), (_, down) = rate(*one), rate(*one[::-1]), rate(2, 1), rate(1, 2)
        least, most = more.low - less.high, more.high - less.low
        narrow, wide = max(up.low - down.high, 1 / n), max(up.high - down.low, 1 / n)
        return least / (wide if least > 0 else narrow), most / (narrow if most > 0 else wide)

    from_floor = rate(0, 1)[0] + rate(1, 0)[0] <= rate(2, 0)[0] + rate(0, 2)[0]
    expected = fraction((0, 1), (0, 1)) if from_floor else tuple(1 - each for each in fraction((2, 0), (2, 0))[::-1])
    low, high = intervals.exact_leakage(np.array(counts), 0.05)
    assert (float(low), float(high)) == pytest.approx(expected)


@pytest.mark.parametrize(("floor", "by_log"), [(120, True), (150, False)])
def test_the_log_interval_needs_an_attack_that_is_clear_of_the_floor(floor, by_log):
    # The attack's 180 hits have a standard error of 10.7: 5.6 of them above 120, 2.8 above 150.
    target, attack = rows(100, 40, 80, 280)
    value = estimates.suppression(target, attack, np.arange(500) < floor)
    spread = 1.6448536269514722 * math.sqrt((40 + 80 + 1) / (140.5 * 180.5))
    top = scipy.stats.binomtest(140, 500).proportion_ci(0.95, method="exact").high
    bottom = scipy.stats.binomtest(180, 500).proportion_ci(0.95, method="exact").low
    expected = 140.5 / 180.5 * math.exp(spread) if by_log else top / max(bottom, floor / 500)
    assert value.high == pytest.approx(expected)
