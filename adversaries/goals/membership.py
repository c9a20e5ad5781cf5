"""Was an image among those that the defense was fitted on? What such an adversary is, and how it is graded.

Axes: s shadow defenses, u rows of the shadows' universe, m rows that are scored, k signals, d features of one release.
Torch-free; `adversaries.attacks.membership.signals` measures the signals.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from adversaries.attacker import Attacker
from adversaries.registries import ADVERSARIES as _ADVERSARIES
from adversaries.threat import Level
from vfc.errors import NotApplicableError
from vfc.registry import Registry

Numbers = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What one defense makes of some images.

    Args:
        signals: (m, k).
        release: features of the releases, (m, d).
    """

    signals: Numbers
    release: Numbers

    def take(self, rows: NDArray[np.int64]) -> Readings:
        """Some rows."""
        return Readings(signals=self.signals[rows], release=self.release[rows])


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """The attacker's own defenses, each fitted like the real one on a random half of a universe of images.

    Args:
        names: of the signals.
        universe: readings of every shadow on the universe.
        member: which of them each shadow was fitted on; (s, u).
        candidates: readings of every shadow on the images in question.
        inside: which of those it was fitted on; (s, m); none unless `online`.
        online: whether the attacker put images in question into the universe on purpose.
    """

    names: tuple[str, ...]
    universe: Sequence[Readings]
    member: Truth
    candidates: Sequence[Readings]
    inside: Truth
    online: bool = False


@dataclass(frozen=True, kw_only=True)
class Sight:
    """All that an adversary is shown to score some rows: never who is a member among them.

    Args:
        names: of the signals.
        readings: of the attacked defense on these rows.
        shadows: signals of the shadow defenses on the same rows; (s, m, k).
        inside: whether each shadow was fitted on each of these rows; (s, m).
        lessons: readings of the shadows on the universe.
        answers: who is a member there; (s, u).
        online: whether every row has shadows of both kinds, which its score may compare.
    """

    names: tuple[str, ...]
    readings: Readings
    shadows: Numbers
    inside: Truth
    lessons: tuple[Readings, ...]
    answers: Truth
    online: bool

    def signal(self, name: str) -> int:
        """Position of a signal; raises `NotApplicableError` when this defense does not give it."""
        if name not in self.names:
            raise NotApplicableError(f"this defense gives no signal {name!r}")
        return self.names.index(name)

    def direction(self, signal: int) -> float:
        """1 if members of the shadows have the larger signal on average, else -1."""
        gaps = [
            lesson.signals[member, signal].mean() - lesson.signals[~member, signal].mean()
            for lesson, member in zip(self.lessons, self.answers, strict=True)
        ]
        return 1.0 if float(np.mean(gaps)) >= 0 else -1.0


# Structure: calibration does not count it.
@dataclass(frozen=True, kw_only=True)
class MembershipAdversary(Attacker):
    """Base of all membership adversaries. It scores rows and never grades itself."""

    level: ClassVar[Level] = "L4"

    @abstractmethod
    def score(self, sight: Sight) -> Numbers:
        """One finite score per row, higher for likelier members; on a scale that is the same for every defense.

        Raises:
            NotApplicableError: the defense does not offer what the adversary reads.
        """


ADVERSARIES = cast("Registry[type[MembershipAdversary]]", _ADVERSARIES)
"""The registry of all adversaries, as attacks on membership see it."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A threshold that was fixed without the images in question.

    Args:
        threshold: rows that score at least this are called members.
        advantage: true minus false positive rate on the shadows.
    """

    threshold: float
    advantage: float


def calibrate(adversary: MembershipAdversary, shadows: Shadows) -> Calibrated:
    """Attack every shadow with the help of the others, and fix the threshold that does best on all of them.

    Raises:
        NotApplicableError: fewer than two shadows, or the adversary's own reason.
    """
    if len(shadows.universe) < 2:
        raise NotApplicableError("needs shadow defenses")
    scores = np.concatenate([scored(adversary, held_out(shadows, held)) for held in range(len(shadows.universe))])
    truth = shadows.member.reshape(-1)
    false_rate, true_rate, thresholds = roc(scores, truth)
    best = int(np.argmax(true_rate - false_rate))
    # Halfway to the next lower score, since the real scores fall between those of the shadows.
    following = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds[best]
    threshold = thresholds[best] if best == 0 else (thresholds[best] + following) / 2
    return Calibrated(threshold=float(threshold), advantage=float(true_rate[best] - false_rate[best]))


def held_out(shadows: Shadows, held: int) -> Sight:
    """One shadow as if it were the real defense, and the others as its shadows."""
    others = [i for i in range(len(shadows.universe)) if i != held]
    return Sight(
        names=shadows.names,
        readings=shadows.universe[held],
        shadows=np.stack([shadows.universe[i].signals for i in others]),
        inside=shadows.member[others],
        lessons=tuple(shadows.universe[i] for i in others),
        answers=shadows.member[others],
        online=shadows.online,
    )


def real(shadows: Shadows, readings: Readings) -> Sight:
    """The real defense on the images in question."""
    return Sight(
        names=shadows.names,
        readings=readings,
        shadows=np.stack([each.signals for each in shadows.candidates]),
        inside=shadows.inside,
        lessons=tuple(shadows.universe),
        answers=shadows.member,
        online=shadows.online,
    )


def scored(adversary: MembershipAdversary, sight: Sight) -> Numbers:
    """An adversary's scores, checked.

    Raises:
        ValueError: not one number per row.
    """
    scores = np.asarray(adversary.score(sight), dtype=np.float64)
    if scores.shape != (len(sight.readings.signals),):
        raise ValueError(f"expected {len(sight.readings.signals)} scores, got shape {scores.shape}")
    return scores


def roc(scores: Numbers, truth: Truth) -> tuple[Numbers, Numbers, Numbers]:
    """False and true positive rates for every threshold, from calling nobody a member to calling everybody one.

    Args:
        scores: (m,) finite, higher for members.
        truth: (m,) who is one; both kinds occur.

    Returns:
        Rates in [0, 1] and thresholds, the first infinite, falling.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, member = scores[order], truth[order]
    last = np.append(np.nonzero(np.diff(ranked))[0], len(ranked) - 1)
    true = np.cumsum(member)[last] / max(1, int(member.sum()))
    false = np.cumsum(~member)[last] / max(1, int((~member).sum()))
    return np.append(0.0, false), np.append(0.0, true), np.append(np.inf, ranked[last])


def area(false_rate: Numbers, true_rate: Numbers) -> float:
    """Area under the curve."""
    return float((np.diff(false_rate) * (true_rate[1:] + true_rate[:-1]) / 2).sum())


def hits_at(scores: Numbers, truth: Truth, false_rate: float) -> int:
    """Members found at the threshold that calls the largest share of non-members, up to `false_rate`, members."""
    false, true, _ = roc(scores, truth)
    allowed = np.nonzero(false <= false_rate + 1e-12)[0]
    return round(float(true[allowed].max()) * int(truth.sum()))


def shuffled(shadows: Shadows, generator: np.random.Generator) -> Shadows:
    """The honesty control: who is a member is permuted for every shadow before anything is fitted."""
    member = np.stack([generator.permutation(row) for row in shadows.member])
    return replace(shadows, member=member, inside=np.stack([generator.permutation(row) for row in shadows.inside]))


def planted(readings: Readings, member: Truth, share: float, generator: np.random.Generator) -> Readings:
    """The power control: a copy in which a share of the members shows in every signal and in the release."""
    marked = member & (generator.random(len(member)) < share)
    signals, release = readings.signals.copy(), readings.release.copy()
    signals[marked] += 6 * signals.std(axis=0) + 1e-6
    release[marked] += 6 * release.std(axis=0) + 1e-6
    return Readings(signals=signals, release=release)
