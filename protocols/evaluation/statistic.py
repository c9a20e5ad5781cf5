"""How the outcomes of one goal become numbers, one per target, and how those are compared.

A goal that is measured in several ways (PSNR, identification, ...) has one statistic for each; an outcome may hold an
array for each of several variants of one (which rule looks for the original, which model reads the reconstruction).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adversaries.evidence import Value
from adversaries.goals.label import NOT_GRADED
from adversaries.statistics import estimates, intervals
from protocols.engine.task import Arrays, Rows

FEW = 100
"""Fewer targets than this raise TOO_FEW_TARGETS."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """One way to measure.

    Args:
        goal: as evidence says it.
        name: of the metric in the catalog; empty where several metrics are read off the same rows.
        array: name of an outcome's array, after the part's; empty for right or wrong about a label.
        variants: endings of that name to choose among; one empty ending for the array itself.
        column: which column of the array, without the rows that are not graded; None for an array of one axis.
        kind: `rate` for rows that are right or wrong, `mean` for real numbers, `advantage` for rows of membership (1
            for a member, plus 2 if it is called one).
        unit: of the number.
        margin: twice the training may raise the mean by this much before the attack counts as not converged.
        floor: rows of the best guess without the release; None where blind candidates are the floor.
        few: fewer graded targets than this are too few.
        ties: of equals the one with the higher `ceiling` on the validation part wins, or the larger `budget`.
        corrected_for: comparisons are corrected for the number of `trials` of the attack, or of `attempts`.
        missed_by: selection has missed a candidate whose lower `bound` exceeds the chosen one's number, or that is
            stronger `paired` with it on the same targets.
        needs_learners: whether there is no number where nobody with labels could be measured.
        shuffled_by: the statistic that the shuffled control is judged by; None for this one.
        decides: whether who is clearly weaker by it is weaker by the metric too, and so decides no gate.
    """

    goal: str
    name: str = ""
    array: str = ""
    variants: tuple[str, ...] = ("",)
    column: int | None = None
    kind: Literal["rate", "mean", "advantage"] = "rate"
    unit: str = "rate"
    margin: float = 0.02
    floor: Rows | None = None
    few: int = FEW
    ties: Literal["ceiling", "budget"] = "ceiling"
    corrected_for: Literal["trials", "attempts"] = "trials"
    missed_by: Literal["bound", "paired"] = "bound"
    needs_learners: bool = False
    shuffled_by: Statistic | None = None
    decides: bool = True

    def rows(self, arrays: Arrays, part: str, variant: str = "") -> Rows | None:
        """The numbers of one part of an outcome's arrays; None if it holds none."""
        found = arrays.get(".".join(word for word in (part, self.array, variant) if word))
        if found is None or self.column is None:
            # A mean is taken in double precision, whatever was stored.
            return found.astype(np.float64) if found is not None and self.kind == "mean" else found
        codes = found[:, self.column]
        rows: Rows = codes[codes != NOT_GRADED]
        return rows

    def value(self, rows: Rows, *, key: str | None = None, alpha: float = estimates.ALPHA) -> Value:
        """The number of some rows, with its bounds.

        Args:
            rows: of all graded targets.
            key: where the sidecar keeps them.
            alpha: one-sided level of each bound.
        """
        if self.kind == "mean":
            return estimates.mean(rows, self.unit, alpha, rows=key)
        if self.kind == "rate":
            found = estimates.rate(int(rows.sum()), len(rows), alpha)
        else:
            member, called = rows % 2 == 1, rows >= 2
            hits, others = int((called & member).sum()), int((called & ~member).sum())
            found = estimates.advantage(hits, int(member.sum()), others, int((~member).sum()), alpha)
        return found.model_copy(update={"rows": key})

    def right(self, rows: Rows) -> Rows:
        """Which rows are right, of those that are right or wrong: about a label, or about who is a member."""
        return (rows % 2 == rows // 2).astype(np.uint8) if self.kind == "advantage" else rows

    def floor_value(self, count: int) -> Value:
        """The best guess without the release, on the first `count` targets; only where `floor` is known."""
        rows = np.zeros(0) if self.floor is None else self.floor[:count]
        if not len(rows):
            return Value.unknown("no targets", unit=self.unit)
        if self.kind == "rate" and bool(np.isin(rows, (0, 1)).all()):
            return estimates.rate(int(rows.sum()), len(rows))
        return estimates.exact(float(rows.mean()), self.unit)

    def above(self, more: Rows, less: Rows, level: float, margin: float = 0.0) -> bool:
        """Whether the first rows are above the second on the same targets, by more than a margin and beyond chance."""
        more, less = self.right(more), self.right(less)
        count = min(len(more), len(less))
        apart = np.asarray(more[:count], np.float64) - np.asarray(less[:count], np.float64)
        if count < 2 or float(apart.mean()) <= margin:
            return False
        if self.kind == "mean":
            return bool(intervals.mean_bounds(apart, level)[1] > 0)
        return estimates.mcnemar(int((apart > 0).sum()), int((apart < 0).sum())) < level

    def missed(self, rival: Rows, chosen: Rows, level: float) -> bool:
        """Whether selection has missed a rival, by the rows of both."""
        if self.missed_by == "paired":
            return self.above(rival, chosen, level)
        low = self.value(rival, alpha=level).low
        return low is not None and low > (self.value(chosen).value or 0.0)

    def above_chance(self, arrays: Arrays, level: float) -> bool:
        """Whether what was found on shuffled labels or pairs is above chance."""
        if self.shuffled_by is not None:
            return self.shuffled_by.above_chance(arrays, level)
        if self.kind == "advantage":
            rows = self.rows(arrays, "targets")
            return rows is not None and (self.value(rows, alpha=level).low or 0.0) > 0
        if self.column is not None:
            # As many rows of the class as of the others: whoever knows nothing is right half of the time.
            rows = self.rows(arrays, "targets")
            tests = [] if rows is None else [estimates.binomial_upper_tail(int(rows.sum()), len(rows), 0.5)]
        else:
            tests = list(shuffled_control_p_values(arrays))
        return any(p < level / len(tests) for p in tests)


def shuffled_control_p_values(arrays: Mapping[str, Any]) -> Iterator[float]:
    """One-sided p-values of every result of a shuffled arm, by the names of its arrays.

    Right or wrong about a label, and matches, against the rate of the best constant guess and of a random member of the
    gallery; PSNR against that with the other images of the gallery, which is an exact comparison for whatever does not
    know the pairs; readers of reconstructions against the most frequent label.
    """
    hits = [name for name in arrays if name == "targets" or name.startswith("targets.hit.")]
    for name in hits:
        chance = float(np.mean(arrays["targets.chance"]))
        yield estimates.binomial_upper_tail(int(np.sum(arrays[name])), len(arrays[name]), chance)
    if "targets.beside" in arrays:
        beside = np.asarray(arrays["targets.beside"], dtype=np.float64)
        apart = (np.asarray(arrays["targets.psnr"], dtype=np.float64)[: len(beside)] - beside)[np.isfinite(beside)]
        yield _mean_above_zero(apart)
    for name, values in arrays.items():
        if name.startswith("targets.read."):
            majority = float(np.mean(arrays["targets.majority"]))
            yield estimates.binomial_upper_tail(int(np.sum(values)), len(values), majority)


def _mean_above_zero(rows: Rows) -> float:
    """One-sided p-value of Student's t test that a mean is not above 0."""
    if len(rows) < 2 or float(rows.std(ddof=1)) == 0:
        return 1.0
    from scipy.special import stdtr

    return float(stdtr(len(rows) - 1, -float(rows.mean()) / (float(rows.std(ddof=1)) / np.sqrt(len(rows)))))
