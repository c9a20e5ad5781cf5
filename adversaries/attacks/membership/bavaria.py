"""The likelihood ratio attack with means and variances that few shadows cannot mislead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Sight, Truth


@ADVERSARIES.register("bavaria", goals=("membership",), variants=({"signal": "confidence"},), order=26)
@dataclass(frozen=True, kw_only=True)
class Bavaria(MembershipAdversary):
    """Compares a signal with what shadows make of the same image, each image's spread drawn towards that of all.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: a Gaussian of unknown mean and variance per image, with a conjugate prior that is fitted to the attacker's
    own images: its predictive law is a Student's t. Offline from defenses without the image alone, online from both
    kinds.

    Args:
        signal: `confidence` (logit of the label's probability), `kl`, `change` or `norm`, as of `lira`.
        weight: how many shadows the prior of the variance counts for.

    Source: Brannvall, Exponential-family membership inference: from LiRA and RMIA to BaVarIA, 2026, arXiv 2603.11799.
    """

    signal: Literal["confidence", "kl", "change", "norm"] = "confidence"
    weight: float = 4.0

    def score(self, sight: Sight) -> Numbers:
        """Online the log ratio of the two predictive laws, offline how far up the law without the image it stands."""
        position = sight.signal(self.signal)
        seen, known = sight.readings.signals[:, position], sight.shadows[:, :, position]
        taught = sight.taught(position)
        out = _Predictive.of(known, ~sight.inside, _Prior.of(taught, ~sight.answers, self.weight))
        if not sight.online:
            return sight.direction(position) * out.quantile(seen)
        within = _Predictive.of(known, sight.inside, _Prior.of(taught, sight.answers, self.weight))
        return within.likelihood(seen) - out.likelihood(seen)


@dataclass(frozen=True)
class _Prior:
    """Of an image's mean and variance: the usual ones, and how many shadows each of them counts for."""

    mean: float
    shadows: float
    variance: float
    weight: float

    @classmethod
    def of(cls, values: Numbers, chosen: Truth, weight: float) -> _Prior:
        """From the chosen shadows of the attacker's own images."""
        count = chosen.sum(axis=0).astype(np.float64)
        mean = np.where(chosen, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(chosen, values - mean, 0.0) ** 2).sum(axis=0)
        spare = float((count - (count > 0)).sum())
        variance = float(squares.sum()) / spare if spare > 0 else float(np.var(values))
        variance = max(variance, 1e-12)
        known = count > 0
        center = float(mean[known].mean()) if bool(known.any()) else float(values.mean())
        apart = float(np.var(mean[known])) if bool(known.any()) else float(np.var(values))
        # Means differ by what images differ and by the error of each mean; the first is what the prior speaks of.
        between = max(apart - variance * float((1 / count[known]).mean() if bool(known.any()) else 0), 1e-3 * variance)
        return cls(mean=center, shadows=variance / between, variance=variance, weight=weight)


@dataclass(frozen=True)
class _Predictive:
    """A Student's t per row: its middle, its width and its degrees of freedom."""

    middle: Numbers
    width: Numbers
    freedom: Numbers

    @classmethod
    def of(cls, values: Numbers, chosen: Truth, prior: _Prior) -> _Predictive:
        """From the chosen shadows of every row, and a prior."""
        count = chosen.sum(axis=0).astype(np.float64)
        mean = np.where(chosen, values, 0.0).sum(axis=0) / np.maximum(count, 1)
        squares = (np.where(chosen, values - mean, 0.0) ** 2).sum(axis=0)
        total = prior.shadows + count
        middle = (prior.shadows * prior.mean + count * mean) / total
        off = prior.shadows * count / total * (mean - prior.mean) ** 2
        scale = prior.weight * prior.variance + squares + off
        freedom = prior.weight + count
        return cls(middle, np.sqrt(scale / freedom * (1 + 1 / total)), freedom)

    def quantile(self, seen: Numbers) -> Numbers:
        """About the standard normal number at which as much lies below, so that rows of unlike shadows compare."""
        t = (seen - self.middle) / self.width
        # Student's t to normal: monotone, and exact where degrees of freedom are many (Wallace, 1959).
        size = np.sqrt(self.freedom * np.log1p(t**2 / self.freedom))
        return np.asarray(np.sign(t) * size * (8 * self.freedom + 1) / (8 * self.freedom + 3), dtype=np.float64)

    def likelihood(self, seen: Numbers) -> Numbers:
        """Log density."""
        t, v = (seen - self.middle) / self.width, self.freedom
        front = special.gammaln((v + 1) / 2) - special.gammaln(v / 2) - 0.5 * np.log(v * np.pi) - np.log(self.width)
        return np.asarray(front - (v + 1) / 2 * np.log1p(t**2 / v), dtype=np.float64)
