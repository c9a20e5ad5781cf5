"""Grading of attacks on membership: a threshold fixed on the shadows, the attack itself, and its controls.

Axes: s shadow defenses, u rows of the shadows' universe, m rows that are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from adversaries.evidence import Value
from adversaries.goals.exposed import picked
from adversaries.goals.marked_members import hard_planted
from adversaries.goals.membership import MembershipAdversary, Numbers, Readings, Shadows, Sight, Truth
from adversaries.health import HARD, KINDS, Kind
from adversaries.statistics import estimates
from vfc.errors import NotApplicableError

MembershipArm = Literal["attack", "shuffled", "ceiling", "undefended"]

PLANTED = 0.5
"""Share of the members that the ceiling arm marks, and of the rows that arms with a plant of a hard kind mark."""


@dataclass(frozen=True, kw_only=True)
class MembershipInputs:
    """All readings that one attack needs: of a defense and its shadows, or of the target models alone.

    Args:
        shadows: the attacker's own.
        real: of the defense in question, on members and non-members.
    """

    shadows: Shadows
    real: Readings

    def shuffled(self, generator: np.random.Generator) -> MembershipInputs:
        """The honesty control: membership is permuted for every shadow before anything is fitted."""
        member = np.stack([generator.permutation(row) for row in self.shadows.member])
        inside = np.stack([generator.permutation(row) for row in self.shadows.inside])
        return replace(self, shadows=replace(self.shadows, member=member, inside=inside))

    def planted(self, truth: Truth, generator: np.random.Generator) -> MembershipInputs:
        """The power control: a copy in which half of the members show, under every defense."""
        shadows = self.shadows
        universe = [planted(each, who, generator) for each, who in zip(shadows.universe, shadows.member, strict=True)]
        candidates = [
            planted(each, who, generator) for each, who in zip(shadows.candidates, shadows.inside, strict=True)
        ]
        return MembershipInputs(
            shadows=replace(shadows, universe=universe, candidates=candidates),
            real=planted(self.real, truth, generator),
        )

    def hard(self, truth: Truth, kind: Kind, seed: int) -> MembershipInputs:
        """The hard control: releases of half of the images say in a way of one kind whether they are members."""
        shadows, real = hard_planted(self.shadows, self.real, truth, kind, PLANTED, seed)
        return MembershipInputs(shadows=shadows, real=real)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A threshold that was fixed without the images in question.

    Args:
        threshold: rows that score at least this are called members.
        advantage: true minus false positive rate on the shadows.
        scores, truth: what the adversary said of every shadow's universe when it was held out, and who is a member
            there; (s * u,).
    """

    threshold: float
    advantage: float
    scores: Numbers = field(compare=False)
    truth: Truth = field(compare=False)

    def allowing(self, false_rate: float) -> float:
        """The lowest threshold that calls at most such a share, in [0, 1), of the shadows' non-members members."""
        false, _, thresholds = roc(self.scores, self.truth)
        return float(thresholds[np.nonzero(false <= false_rate + 1e-12)[0].max()])

    def false_rate(self, threshold: float) -> float:
        """The share of the shadows' non-members that a threshold calls members: what it promises."""
        return float((self.scores[~self.truth] >= threshold).mean())


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
    return Calibrated(
        threshold=float(threshold),
        advantage=float(true_rate[best] - false_rate[best]),
        scores=np.nan_to_num(scores),
        truth=truth,
    )


def likelihood(calibrated: Calibrated, scores: Numbers) -> Numbers:
    """The share of members among images of such a score, as the shadows say: never falling with the score, in [0, 1].

    Args:
        calibrated: scores of the shadows.
        scores: (m,) finite.

    Source: Zadrozny, Elkan, Transforming classifier scores into accurate multiclass probability estimates, KDD 2002,
        doi 10.1145/775047.775151 (isotonic regression).
    """
    values, position = np.unique(calibrated.scores, return_inverse=True)
    count = np.bincount(position).astype(np.float64)
    shares = np.bincount(position, weights=calibrated.truth) / count
    found: Numbers = np.interp(scores, values, isotonic_regression(shares, weights=count).x)
    return found


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


def hits_at(scores: Numbers, truth: Truth, false_rate: float) -> int:
    """Members found at the threshold that calls the largest share of non-members, up to `false_rate`, members."""
    false, true, _ = roc(scores, truth)
    allowed = np.nonzero(false <= false_rate + 1e-12)[0]
    return round(float(true[allowed].max()) * int(truth.sum()))


def planted(readings: Readings, member: Truth, generator: np.random.Generator) -> Readings:
    """A copy in which a share of the members shows in every signal and in the release."""
    marked = member & (generator.random(len(member)) < PLANTED)
    signals, release = readings.signals.copy(), readings.release.copy()
    signals[marked] += 6 * signals.std(axis=0) + 1e-6
    release[marked] += 6 * release.std(axis=0) + 1e-6
    return Readings(signals=signals, release=release)


@dataclass(frozen=True, kw_only=True)
class GradedMembership:
    """How one adversary did in one arm.

    Args:
        rows: per image, 1 for a member plus 2 if it is called one.
        scores: per image, finite.
        calibrated: the threshold, fixed on the shadows.
        finite: whether all scores were numbers.
        exposed: on the shadows' universes and on the images in question, whether the attack picked an image out itself
            and named it right, as a member or as none.
        picked: whether it picked an image in question out.
    """

    rows: NDArray[np.uint8]
    scores: Numbers
    calibrated: Calibrated
    finite: bool
    exposed: tuple[Truth, Truth]
    picked: Truth

    @cached_property
    def advantage(self) -> Value:
        """True minus false positive rate."""
        member, called = self.rows % 2 == 1, self.rows >= 2
        hits, others = int((called & member).sum()), int((called & ~member).sum())
        return estimates.advantage(hits, int(member.sum()), others, int((~member).sum()))


def assess_membership(
    adversary: MembershipAdversary, inputs: MembershipInputs, truth: Truth, *, arm: str, seed: int
) -> GradedMembership:
    """Fix a threshold on the shadows, score the images in question, and compare with the truth.

    Args:
        adversary: who attacks; never shown `truth`.
        inputs: what it reads; for the arm `undefended` what the target models show by themselves.
        truth: who is a member.
        arm: `attack`; `shuffled`, with membership permuted everywhere; `ceiling`, with a leak planted in a copy;
            `undefended`; or `planted:` and a kind, with one planted in a way that common readers miss.
        seed: of what the arms draw.

    Raises:
        NotApplicableError: the defense does not offer what the adversary reads.
    """
    if arm in ("shuffled", "ceiling"):
        generator = np.random.Generator(np.random.PCG64(seed))
        permuted, answers = inputs.shuffled(generator), generator.permutation(truth)
        # What is planted is drawn after all permutations, whether or not these are used.
        inputs, truth = (permuted, answers) if arm == "shuffled" else (inputs.planted(truth, generator), truth)
    elif arm.startswith(HARD):
        inputs = inputs.hard(truth, next(kind for kind in KINDS if arm == f"{HARD}{kind}"), seed)
    calibrated = calibrate(adversary, inputs.shadows)
    scores = scored(adversary, real(inputs.shadows, inputs.real))
    finite = bool(np.isfinite(scores).all())
    scores = np.nan_to_num(scores)
    rows = truth.astype(np.uint8) + np.uint8(2) * (scores >= calibrated.threshold).astype(np.uint8)
    exposed, picks = _exposed(calibrated, scores, truth)
    return GradedMembership(
        rows=rows, scores=scores, calibrated=calibrated, finite=finite, exposed=exposed, picked=picks
    )


def _exposed(calibrated: Calibrated, scores: Numbers, truth: Truth) -> tuple[tuple[Truth, Truth], Truth]:
    """Whom an attack picks out and names right, on the shadows and in question; and whom it picks out in question.

    The shadows alone say how sure is sure enough.
    """
    sure, right = [], []
    for said, answers in ((calibrated.scores, calibrated.truth), (scores, truth)):
        share = likelihood(calibrated, said)
        sure.append(torch.from_numpy(np.maximum(share, 1 - share)))
        right.append(torch.from_numpy((share >= 0.5) == answers))
    on_shadows, in_question = (picked(sure[0], right[0], each) for each in sure)
    return ((on_shadows & right[0]).numpy(), (in_question & right[1]).numpy()), in_question.numpy()
