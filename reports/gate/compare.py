"""Two reports side by side: what moved, by how much, and whether that is noise.

Where both runs graded the same target images, results are paired image by image: McNemar's test and Clopper-Pearson on
the discordant rates for rates, Student's t for means, a bootstrap over target images for ratios and leakage. Everything
else is compared by the two intervals, which needs a larger difference, and says so.

Letters: n target images; n10 only the new run hits, n01 only the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adversaries.evidence import Value
from adversaries.statistics import intervals
from adversaries.statistics.estimates import ALPHA, mcnemar
from adversaries.statistics.levels import recompute
from reports.model.attempt_index import Attempt, AttemptIndex
from reports.model.catalog import lookup, section_of
from reports.model.report import Report
from vfc.errors import UserError

Rows = Mapping[str, Any]
Table = NDArray[np.float64]

RARE = 40
"""With fewer target images than this whose results changed, a bootstrap knows too little: the intervals decide."""

RESAMPLES = 4000


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric in two reports.

    Args:
        metric: full name.
        old, new: as stored.
        difference: new - old; None if either is unknown.
        low, high: one-sided bounds of the difference, each at the level asked for; None if unknown.
        paired: whether results were compared image by image.
        method: how, in words.
        rose, fell: for paired rates, McNemar's p-values that so large a rise or fall is luck; None otherwise.
        same: whether the results are equal on every target, or the numbers are exact and equal.
        level: one-sided level of the bounds.
    """

    metric: str
    old: Value
    new: Value
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    paired: bool = False
    method: str = ""
    rose: float | None = None
    fell: float | None = None
    same: bool = False
    level: float = ALPHA

    @property
    def moved(self) -> str:
        """`up`, `down`, `noise`, `same` or `unknown`."""
        if self.difference is None:
            return "unknown"
        if self.same:
            return "same"
        up = self.rose <= self.level if self.rose is not None else self.low is not None and self.low > 0
        down = self.fell <= self.level if self.fell is not None else self.high is not None and self.high < 0
        return "up" if up else "down" if down else "noise" if self.low is not None else "unknown"

    @property
    def verdict(self) -> str:
        """What the move means for the defender: `better`, `worse`, `moved`, `noise`, `same` or `unknown`."""
        try:
            good = lookup(self.metric).better
        except UserError:
            good = None
        if self.moved not in ("up", "down"):
            return self.moved
        return "moved" if good is None else "better" if self.moved == good else "worse"


def compare(old: Report, old_rows: Rows, new: Report, new_rows: Rows, alpha: float = ALPHA) -> list[Change]:
    """Every metric that either report has, by name.

    Args:
        old, new: the reports.
        old_rows, new_rows: their sidecars.
        alpha: one-sided level of each bound, not corrected for the number of metrics.
    """
    missing = Value.unknown("not in this report")
    return [
        change(name, old, old_rows, new, new_rows, alpha)
        if name in old.metrics and name in new.metrics
        else Change(metric=name, old=old.metrics.get(name, missing), new=new.metrics.get(name, missing), level=alpha)
        for name in sorted({*old.metrics, *new.metrics})
    ]


def change(name: str, old: Report, old_rows: Rows, new: Report, new_rows: Rows, alpha: float) -> Change:
    """How one metric that both reports have moved."""
    before, after = old.metrics[name], new.metrics[name]
    if before.value is None or after.value is None:
        return Change(metric=name, old=before, new=after, level=alpha)
    difference = after.value - before.value
    facts: dict[str, Any] = {"metric": name, "old": before, "new": after, "difference": difference, "level": alpha}
    if exact(before) and exact(after):
        return Change(**facts, low=difference, high=difference, method="exact", same=difference == 0)
    if same_targets(old, new):
        first, second = columns(name, old, old_rows), columns(name, new, new_rows)
        if first is not None and second is not None and len(first[1]) == len(second[1]) and first[0] is second[0]:
            bounds = apart(before, after, alpha, old_rows, new_rows)
            return _paired(facts, first[0], first[1], second[1], bounds)
    if same_targets(old, new) and _equal(before, after):
        return Change(**facts, low=0.0, high=0.0, method="equal numbers on the same target images", same=True)
    reason = "no results per target image are stored" if same_targets(old, new) else "the target images differ"
    low, high = apart(before, after, alpha, old_rows, new_rows)
    return Change(**facts, low=low, high=high, method=f"unpaired: {reason}")


def apart(old: Value, new: Value, alpha: float, old_rows: Rows, new_rows: Rows) -> tuple[float | None, float | None]:
    """Bounds of new - old from the two intervals, Bonferroni over both."""
    first, second = recompute(old, alpha / 2, old_rows), recompute(new, alpha / 2, new_rows)
    if None in (first.low, first.high, second.low, second.high) or old.censored or new.censored:
        return None, None
    return float(second.low) - float(first.high), float(second.high) - float(first.low)  # type: ignore[arg-type]


def exact(value: Value) -> bool:
    """Whether a number has no sampling error."""
    return value.low == value.value == value.high and not value.censored


def _equal(old: Value, new: Value) -> bool:
    """Whether two numbers agree in everything that they rest on."""
    return all(getattr(old, field) == getattr(new, field) for field in ("value", "low", "high", "n", "counts", "unit"))


def same_targets(old: Report, new: Report) -> bool:
    """Whether both runs graded the same target images on the same task."""
    first, second = old.dataset.parts.get("targets"), new.dataset.parts.get("targets")
    return first is not None and first == second and old.dataset.task == new.dataset.task


def columns(name: str, report: Report, rows: Rows) -> tuple[Callable[[Table], Table], list[Table]] | None:
    """A metric's results per target image: its statistic, and one table (columns, n) per seed; None if not stored.

    Tables from which the statistic does not give the stored number are not used.
    """
    value = report.metrics[name]
    found = _stored(value, rows) or _hits(name, report, rows)
    if found is None or value.value is None:
        return None
    statistic, tables = found
    numbers = [float(statistic(table.mean(1))) for table in tables]
    return found if abs(sum(numbers) / len(numbers) - value.value) < 1e-6 else None


def _mean(means: Table) -> Table:
    return np.asarray(means[..., 0])


def _ratio(means: Table) -> Table:
    return np.asarray(means[..., 0] / np.maximum(np.maximum(means[..., 1], means[..., 2]), 1e-12))


def _leakage(means: Table) -> Table:
    span = np.maximum(means[..., 2] - means[..., 1], 1e-12)
    return np.asarray((means[..., 0] - means[..., 1]) / span)


def _stored(value: Value, rows: Rows) -> tuple[Callable[[Table], Table], list[Table]] | None:
    """Results that the metric itself names."""
    if not value.rows or any(key not in rows for key in value.rows.split(",")):
        return None
    tables = [np.atleast_2d(np.asarray(rows[key], dtype=np.float64)) for key in value.rows.split(",")]
    shapes = {len(table) for table in tables}
    if any(table.ndim != 2 for table in tables) or shapes not in ({1}, {3}):
        return None
    return (_mean if shapes == {1} else _leakage), tables


def _hits(name: str, report: Report, rows: Rows) -> tuple[Callable[[Table], Table], list[Table]] | None:
    """Results of the attack that the metric was chosen from, and of the target model where it is a ratio."""
    target = np.asarray(rows["target"], dtype=np.float64) if "target" in rows else None
    if name == "target.accuracy":
        return None if target is None else (_mean, [target[None]])
    if name == "target.retention":
        clean = rows.get("target.clean")
        nothing = np.zeros_like(target) if target is not None else None
        return None if target is None or clean is None else (_ratio, [np.stack([target, clean, nothing])])  # type: ignore[list-item]
    accuracy = name.replace(".suppression_ratio", ".accuracy")
    attempt = _source(accuracy, report)
    keys = [value.rows for row in attempt.rows if (value := row.arms.attack) is not None] if attempt is not None else []
    if not keys or any(key is None or key not in rows for key in keys):
        return None
    hits = [np.asarray(rows[str(key)], dtype=np.float64) for key in keys]
    if accuracy == name:
        return _mean, [table[None] for table in hits]
    value = report.metrics[name]
    floor = next((n for key, n in (value.counts or {}).items() if key.split("/")[-1] == "floor"), None)
    if target is None or floor is None or ".picture." in name:
        return None
    share = np.full_like(target, floor / len(target))
    return _ratio, [np.stack([target, table, share]) for table in hits]


def _source(accuracy: str, report: Report) -> Attempt | None:
    """The honest attempt that an accuracy came from; None for other numbers."""
    section = section_of(accuracy, report.dataset.task)
    if section is None or accuracy not in report.metrics or not lookup(accuracy).name.endswith((".accuracy", "@K")):
        return None
    attempt = section.source(AttemptIndex(report), accuracy)
    shown = attempt is not None and attempt.honest and attempt.shows(report.metrics[accuracy])
    return attempt if shown else None


def _paired(
    facts: dict[str, Any],
    statistic: Callable[[Table], Table],
    before: list[Table],
    after: list[Table],
    unpaired: tuple[float | None, float | None],
) -> Change:
    """Seed by seed, image by image; over seeds the lowest low and the highest high."""
    if any(old.shape != new.shape for old, new in zip(before, after, strict=True)):
        return Change(**facts, low=unpaired[0], high=unpaired[1], method="unpaired: the target images differ")
    if all(np.array_equal(old, new) for old, new in zip(before, after, strict=True)):
        return Change(**facts, low=0.0, high=0.0, paired=True, method="equal on every target image", same=True)
    found = [_one(statistic, old, new, facts["level"], unpaired) for old, new in zip(before, after, strict=True)]
    lows, highs = [one[0] for one in found], [one[1] for one in found]
    known = None not in lows and None not in highs
    tests = [one[3] for one in found]
    rose = max(test[0] for test in tests if test) if all(tests) else None
    fell = max(test[1] for test in tests if test) if all(tests) else None
    return Change(
        **facts,
        low=min(low for low in lows if low is not None) if known else None,
        high=max(high for high in highs if high is not None) if known else None,
        paired=all(one[2] != _FEW for one in found),
        method=found[0][2],
        rose=rose,
        fell=fell,
    )


_FEW = "unpaired: too few target images changed for a bootstrap"


def _one(
    statistic: Callable[[Table], Table],
    old: Table,
    new: Table,
    alpha: float,
    unpaired: tuple[float | None, float | None],
) -> tuple[float | None, float | None, str, tuple[float, float] | None]:
    """Bounds of one seed's difference, how they were had, and McNemar's two p-values for rates."""
    n = old.shape[1]
    if statistic is _mean:
        if np.isin(old, (0, 1)).all() and np.isin(new, (0, 1)).all():
            n10, n01 = int((new > old).sum()), int((new < old).sum())
            least, most = intervals.clopper_pearson(np.array([n10, n01]), n, alpha / 2)
            return (
                float(least[0] - most[1]),
                float(most[0] - least[1]),
                "McNemar",
                (mcnemar(n10, n01), mcnemar(n01, n10)),
            )
        _, low, high = intervals.mean_bounds((new - old)[0], alpha)
        return low, high, "paired Student's t", None
    if (old != new).any(0).sum() < RARE:
        return *unpaired, _FEW, None
    patterns, counts = np.unique(np.concatenate([old, new]), axis=1, return_counts=True)
    resamples = max(RESAMPLES, int(np.ceil(50 / alpha)))
    drawn = np.random.Generator(np.random.PCG64(0)).multinomial(n, counts / n, size=resamples) @ patterns.T / n
    replicas = statistic(drawn[:, len(old) :]) - statistic(drawn[:, : len(old)])
    low, high = np.quantile(replicas, [alpha, 1 - alpha])
    return float(low), float(high), "paired bootstrap over target images", None
