"""What moved: paired statistics against scipy, noise, and what is not paired."""

import numpy as np
import pytest
import scipy.stats

from adversaries.evidence import Arms, Value
from adversaries.statistics import estimates, levels
from reports.gate.compare import RARE, compare
from tests.reports.builder import build, row

N = 450


def hits(seed, rate):
    return np.random.default_rng(seed).random(N) < rate


def flipped(row_of_hits, count, seed=0):
    """The same with so many hits turned into misses."""
    changed = row_of_hits.copy()
    changed[np.random.default_rng(seed).choice(np.flatnonzero(changed), count, replace=False)] = False
    return changed


def run(attack, target=None, floor=None, digest="t", psnr=None, chosen=True):
    """A report with its sidecar, as a run would write them: an accuracy, a ratio, a leakage and a mean."""
    target = np.ones(N, bool) if target is None else target
    floor = hits(9, 0.1) if floor is None else floor
    key = "adaptive-probe/task:digit/linear@all/0"
    ceiling = np.ones(N, bool)
    rows = {"target": target, key: attack, "adaptive.leakage/0": np.stack([attack, floor, ceiling])}
    value = estimates.rate(int(attack.sum()), N).model_copy(update={"rows": key})
    evidence = row().model_copy(
        update={
            "arms": Arms(attack=value),
            "chosen": chosen,
            "threat": row().threat.model_copy(
                update={"budget": row().threat.budget.model_copy(update={"labels_per_class": "all"})}
            ),
        }
    )
    metrics = {
        "target.accuracy": estimates.rate(int(target.sum()), N),
        "adaptive.accuracy": estimates.rate(int(attack.sum()), N),
        "adaptive.suppression_ratio": estimates.suppression(target, attack, floor),
        "adaptive.leakage": estimates.leakage(attack, floor, ceiling, rows="adaptive.leakage/0"),
    }
    if psnr is not None:
        rows["inversion.psnr"] = psnr
        metrics["inversion.psnr"] = estimates.mean(psnr, "dB", rows="inversion.psnr")
    base = build()
    part = base.dataset.parts["targets"].model_copy(update={"digest": digest})
    dataset = base.dataset.model_copy(update={"parts": {"targets": part}})
    return build(evidence=(evidence,), metrics=metrics, dataset=dataset), rows


def changes(old, new, alpha=0.05):
    return {found.metric: found for found in compare(*old, *new, alpha)}


def test_equal_runs_are_unchanged():
    one = run(hits(0, 0.5), psnr=np.random.default_rng(3).normal(20, 3, N))
    for found in changes(one, one).values():
        assert (found.moved, found.verdict, found.difference) == ("same", "same", 0.0)


@pytest.mark.parametrize(("count", "moved"), [(3, "noise"), (4, "noise"), (5, "down"), (80, "down")])
def test_rates_by_mcnemar(count, moved):
    # 5 of 5 discordant pairs have p = 1/32 < 0.05, 4 of 4 have 1/16.
    attack = hits(0, 0.5)
    found = changes(run(attack), run(flipped(attack, count)))["adaptive.accuracy"]
    assert found.paired
    assert found.fell == pytest.approx(scipy.stats.binomtest(count, count, 0.5, alternative="greater").pvalue)
    assert found.moved == moved
    assert found.verdict == ("better" if moved == "down" else "noise")
    assert found.low <= found.difference <= found.high
    back = changes(run(flipped(attack, count)), run(attack))["adaptive.accuracy"]
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert back.verdict == ("worse" if moved == "down" else "noise")


def test_pairing_sees_what_intervals_do_not():
    attack = hits(0, 0.5)
    fewer = flipped(attack, 12)
    paired = changes(run(attack), run(fewer))["adaptive.accuracy"]
    apart = changes(run(attack), run(fewer, digest="other"))["adaptive.accuracy"]
    assert (paired.paired, paired.moved) == (True, "down")
    assert (apart.paired, apart.moved) == (False, "noise")
    assert "target images differ" in apart.method


def test_means_by_the_paired_t_test():
    psnr = np.random.default_rng(3).normal(20, 3, N)
    shifted = psnr + np.random.default_rng(4).normal(0.05, 0.2, N)
    found = changes(run(hits(0, 0.5), psnr=psnr), run(hits(0, 0.5), psnr=shifted))["inversion.psnr"]
    assert found.paired
    interval = scipy.stats.ttest_rel(shifted, psnr).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.moved, found.verdict) == ("up", "worse")


def test_ratios_and_leakage_by_bootstrap_or_by_their_intervals():
    attack = hits(0, 0.6)
    few, many = flipped(attack, RARE - 1), flipped(attack, RARE + 60)
    for name in ("adaptive.suppression_ratio", "adaptive.leakage"):
        rare = changes(run(attack), run(few))[name]
        assert (rare.paired, rare.low <= rare.difference <= rare.high) == (False, True)
        common = changes(run(attack), run(many))[name]
        assert common.paired
        assert common.verdict == "better"
        assert common.low < common.difference < common.high
        # Shorter than what the two intervals alone allow.
        alone = changes(run(attack), run(many, digest="other"))[name]
        assert common.high - common.low < alone.high - alone.low


def test_the_bootstrap_has_the_level_it_claims():
    # Both runs hit each target with probability 0.5, correlated: no real change. One-sided misses at most 5 %, where
    # 100 runs allow 11 (99 % of a binomial).
    ups = downs = 0
    rng = np.random.default_rng(0)
    for _ in range(100):
        first = rng.random(N) < 0.5
        second = np.where(rng.random(N) < 0.5, first, rng.random(N) < 0.5)
        moved = changes(run(first), run(second))["adaptive.leakage"].moved
        ups, downs = ups + (moved == "up"), downs + (moved == "down")
    assert max(ups, downs) <= scipy.stats.binom.ppf(0.99, 100, 0.05)


def test_numbers_that_rows_do_not_give_are_not_paired():
    report, rows = run(hits(0, 0.5))
    other, others = run(flipped(hits(0, 0.5), 100))
    wrong = {**others, "target": hits(5, 0.3)}
    found = changes((report, rows), (other, wrong))
    assert not found["target.accuracy"].paired or found["target.accuracy"].same
    assert not found["adaptive.suppression_ratio"].paired
    bare = changes((report, {}), (other, {}))["adaptive.accuracy"]
    assert (bare.paired, bare.moved) == (False, "down")


def test_what_is_missing_or_unknown():
    report, rows = run(hits(0, 0.5))
    metrics = {**report.metrics, "adaptive.leakage": Value.unknown("no ceiling")}
    del metrics["target.accuracy"]
    found = changes((report, rows), (report.model_copy(update={"metrics": metrics}), rows))
    assert found["adaptive.leakage"].moved == found["target.accuracy"].moved == "unknown"
    assert found["target.accuracy"].new.reason == "not in this report"


def test_seeds_are_compared_one_by_one():
    attacks = [hits(0, 0.5), hits(1, 0.5)]

    def seeded(tables):
        report, rows = run(tables[0])
        keys = [f"key/{seed}" for seed in range(2)]
        rows |= dict(zip(keys, tables, strict=True))
        values = [estimates.rate(int(table.sum()), N) for table in tables]
        evidence = tuple(
            report.evidence[0].model_copy(
                update={"seed": seed, "arms": Arms(attack=value.model_copy(update={"rows": key}))}
            )
            for seed, (value, key) in enumerate(zip(values, keys, strict=True))
        )
        metrics = {"adaptive.accuracy": levels.over_seeds(values)}
        return report.model_copy(update={"evidence": evidence, "metrics": metrics}), rows

    both = changes(seeded(attacks), seeded([flipped(attacks[0], 30), flipped(attacks[1], 30)]))["adaptive.accuracy"]
    assert (both.paired, both.moved) == (True, "down")
    # A move of one seed alone proves nothing about the other.
    one = changes(seeded(attacks), seeded([flipped(attacks[0], 30), attacks[1]]))["adaptive.accuracy"]
    assert (one.paired, one.moved) == (True, "noise")
