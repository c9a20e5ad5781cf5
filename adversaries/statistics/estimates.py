"""Every statistic of the toolkit: an estimate, its one-sided bounds, and what `levels` needs for others.

`low` and `high` of a `Value` miss the truth with probability at most `alpha` each (0.05 unless said otherwise), so
together they are an interval of confidence 1 - 2 alpha. `benchmarks/coverage.py` simulates how often they really miss.
Imports no torch, and numpy only when something is computed: a gate on stored bounds does not need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adversaries.evidence import Value

ALPHA = 0.05
"""Level of each bound of a stored `Value`."""

TASK_DECIDES = "decided by the task label"
"""Why leakage is unknown where the images themselves show nothing beyond the floor."""

RATE = "Clopper-Pearson"
RATIO = "paired log interval or Clopper-Pearson"
SUPPRESSION = "paired log interval or Clopper-Pearson, capped at target / floor"
LEAKAGE = "BCa bootstrap over targets or Clopper-Pearson"
DIFFERENCE = "paired difference of exact intervals"
ADVANTAGE = "difference of exact intervals on different rows"
MEAN = "Student's t"
"""How `method` of a `Value` begins; `adversaries.statistics.levels` knows by it how to compute the value anew."""


def rate(hits: int, n: int, alpha: float = ALPHA) -> Value:
    """A rate with its exact (Clopper-Pearson) bounds.

    Args:
        hits: number of successes, in [0, n].
        n: number of trials; 0 gives an unknown value.
        alpha: one-sided level of each bound, in (0, 0.5).
    """
    hits, n = int(hits), int(n)
    if not 0 <= hits <= n:
        raise ValueError(f"expected hits in [0, {n}], got {hits}")
    if n == 0:
        return Value.unknown("no targets")
    from adversaries.statistics import intervals

    low, high = intervals.clopper_pearson(hits, n, alpha)
    return _value((hits / n, low, high), alpha, n=n, method=RATE, counts={"k": hits})


def suppression(target_hits: Any, attack_hits: Any, floor_hits: Any, alpha: float = ALPHA) -> Value:
    """Suppression ratio: target / max(attack, floor) on the same targets; at most target / floor.

    Args:
        target_hits: per target, whether the target model is right on the release; (n,) booleans.
        attack_hits: whether the unintended model is right; (n,) booleans.
        floor_hits: whether the constant guess is right; (n,) booleans. Given the labels its rate is no random number.
        alpha: one-sided level of each bound.

    Returns:
        A finite ratio for any counts; unknown if neither the attack nor the floor was ever right, because then the
        ratio has no upper end.
    """
    import numpy as np

    floor = int(np.count_nonzero(floor_hits))
    return suppression_from_counts(paired_counts(target_hits, attack_hits), floor, alpha)


def suppression_from_counts(counts: Mapping[str, int], floor: int, alpha: float = ALPHA) -> Value:
    """`suppression` from n11, n10, n01, n00 (see `paired_counts`) and the number of the floor's hits."""
    return ratio_of({**counts, "floor": int(floor)}, alpha)


def retention(numerator_hits: Any, denominator_hits: Any, alpha: float = ALPHA) -> Value:
    """The ratio of two rates on the same targets, for instance the target on releases / the target on images.

    Args:
        numerator_hits: (n,) booleans.
        denominator_hits: (n,) booleans.
        alpha: one-sided level of each bound.
    """
    return ratio_of(paired_counts(numerator_hits, denominator_hits), alpha)


def difference(first_hits: Any, second_hits: Any, alpha: float = ALPHA) -> Value:
    """How much more often the first hits than the second on the same targets: a difference of rates, in [-1, 1].

    Args:
        first_hits: (n,) booleans.
        second_hits: (n,) booleans.
        alpha: one-sided level of each bound.
    """
    return difference_of(paired_counts(first_hits, second_hits), alpha)


def advantage(hits: int, n: int, other_hits: int, others: int, alpha: float = ALPHA) -> Value:
    """How much more often one group is hit than another: true minus false positive rate, in [-1, 1].

    Args:
        hits, n: hits among the rows of the first group, and how many there are.
        other_hits, others: the same for the second group, which shares no row with the first.
        alpha: one-sided level of each bound.
    """
    if n == 0 or others == 0:
        return Value.unknown("no members or no non-members", unit="difference")
    from adversaries.statistics import intervals

    counts = {"k": int(hits), "n": int(n), "other_k": int(other_hits), "others": int(others)}
    bounds = intervals.apart_bounds(hits, n, other_hits, others, alpha)
    return _value(bounds, alpha, n=n + others, unit="difference", method=ADVANTAGE, counts=counts)


def paired_counts(first: Any, second: Any) -> dict[str, int]:
    """n11 (both hit), n10 (only the first), n01 (only the second) and n00 of two (n,) boolean arrays."""
    import numpy as np

    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(f"expected two rows of hits of one length, got shapes {one.shape} and {other.shape}")
    pairs = {"n11": one & other, "n10": one & ~other, "n01": ~one & other, "n00": ~one & ~other}
    return {name: int(np.count_nonzero(hits)) for name, hits in pairs.items()}


def leakage(
    attack_rows: Any, floor_rows: Any, ceiling_rows: Any, alpha: float = ALPHA, seed: int = 0, rows: str | None = None
) -> Value:
    """Leakage: (attack - floor) / (ceiling - floor) on the same targets.

    0 is nothing beyond the unavoidable, 1 is as if undefended. Neither end is a limit: an attack may be below the floor
    by chance, and a release may be easier to read than the image.

    Args:
        attack_rows: hits of the attack on the releases; (n,) booleans.
        floor_rows: hits of the best guess without the release; (n,) booleans.
        ceiling_rows: hits of the same adversary on the images; (n,) booleans.
        alpha: one-sided level of each bound.
        seed: seed of the bootstrap, kept in `method`, so that equal inputs give equal bounds.
        rows: key under which the sidecar keeps the three rows, shape (3, n), so that another level can be computed.

    Returns:
        Unknown, with the reason `decided by the task label`, unless the ceiling's 95 % lower bound exceeds the floor's
        upper one.
    """
    import numpy as np

    attack, floor, ceiling = (np.asarray(hits, dtype=bool) for hits in (attack_rows, floor_rows, ceiling_rows))
    if not attack.shape == floor.shape == ceiling.shape or attack.ndim != 1:
        raise ValueError(f"expected three rows of hits of one length, got {attack.shape, floor.shape, ceiling.shape}")
    n = len(attack)
    if n == 0:
        return Value.unknown("no targets", unit="leakage")
    from adversaries.statistics import intervals

    if intervals.clopper_pearson(ceiling.sum(), n, ALPHA)[0] <= intervals.clopper_pearson(floor.sum(), n, ALPHA)[1]:
        return Value.unknown(TASK_DECIDES, unit="leakage")
    bounds = intervals.leakage_bounds(intervals.pattern_counts(attack, floor, ceiling), alpha, seed)
    return _value(bounds, alpha, n=n, unit="leakage", method=f"{LEAKAGE}, seed {seed}", rows=rows)


def mean(per_target: Any, unit: str, alpha: float = ALPHA, rows: str | None = None) -> Value:
    """The mean of any number per target (PSNR, bits) with Student's t bounds.

    Args:
        per_target: finite numbers, shape (n,).
        unit: what they are measured in.
        alpha: one-sided level of each bound.
        rows: key under which the sidecar keeps them.
    """
    import numpy as np

    values = np.asarray(per_target, dtype=np.float64)
    if values.size < 2:
        return Value.unknown("fewer than two targets have no interval", unit=unit)
    if not np.isfinite(values).all():
        return Value.unknown("a target's number is not finite", unit=unit)
    from adversaries.statistics import intervals

    return _value(intervals.mean_bounds(values, alpha), alpha, n=len(values), unit=unit, method=MEAN, rows=rows)


def exact(number: int | float, unit: str = "count", *, censored: bool = False) -> Value:
    """A number without sampling error; `censored` says that the truth is larger than it."""
    return Value(value=number, low=number, high=number, unit=unit, method="exact", censored=censored)


def mcnemar(n10: int, n01: int) -> float:
    """Exact one-sided p-value of McNemar's test: how likely n10 or more of n10 + n01 pairs favor the first by luck.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions, Psychometrika 12.
    """
    return binomial_upper_tail(n10, n10 + n01, 0.5)


def binomial_upper_tail(k: int, n: int, p: float) -> float:
    """P[X >= k] for a binomial X of n trials at rate p."""
    if not 0 <= p <= 1 or n < 0:
        raise ValueError(f"expected n >= 0 and p in [0, 1], got {n} and {p}")
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    from adversaries.statistics.special import betainc

    return float(betainc(k, n - k + 1, p))


def ratio_of(counts: Mapping[str, int], alpha: float) -> Value:
    """A paired ratio from counts; with `floor` among them the denominator is at least the floor."""
    n11, n10, n01, n00 = (int(counts[name]) for name in ("n11", "n10", "n01", "n00"))
    n, floor = n11 + n10 + n01 + n00, int(counts.get("floor", 0))
    if n == 0:
        return Value.unknown("no targets", unit="ratio")
    if n11 + n01 + floor == 0:
        never = "neither the attack nor the floor was" if "floor" in counts else "the denominator was never"
        return Value.unknown(f"{never} ever right, so the ratio has no upper end", unit="ratio")
    from adversaries.statistics import intervals

    method = SUPPRESSION if "floor" in counts else RATIO
    bounds = intervals.ratio_bounds(n11, n10, n01, n00, floor, alpha)
    return _value(bounds, alpha, n=n, unit="ratio", method=method, counts=dict(counts))


def difference_of(counts: Mapping[str, int], alpha: float) -> Value:
    """A paired difference from counts."""
    n = sum(int(counts[name]) for name in ("n11", "n10", "n01", "n00"))
    if n == 0:
        return Value.unknown("no targets", unit="difference")
    from adversaries.statistics import intervals

    bounds = intervals.difference_bounds(counts["n10"], counts["n01"], n, alpha)
    return _value(bounds, alpha, n=n, unit="difference", method=DIFFERENCE, counts=dict(counts))


def _value(bounds: Sequence[Any], alpha: float, **facts: Any) -> Value:
    value, low, high = (float(bound) for bound in bounds)
    return Value(value=value, low=low, high=high, confidence=confidence_of(alpha), **facts)


def confidence_of(alpha: float) -> float:
    """Two-sided confidence of two one-sided bounds at a level in (0, 0.5)."""
    if not 0 < alpha < 0.5:
        raise ValueError(f"expected alpha in (0, 0.5), got {alpha}")
    return round(1 - 2 * alpha, 12)
