"""Membership inference, was the defense fitted on an image? What such an adversary is, and what it is shown.

Axes: s shadow defenses, u rows of the shadows' universe, m rows that are scored, k signals, d features of one release.
Torch-free. `adversaries.attacks.membership.signals` measures signals, `adversaries.goals.membership_grading` grades.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
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

LARGEST = 1e6
"""Numbers of readings are held within plus and minus this."""


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

    def taught(self, signal: int) -> Numbers:
        """One signal of the shadows on the universe; (s, u)."""
        return np.stack([lesson.signals[:, signal] for lesson in self.lessons])

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
