"""A classifier of members that is trained on shadow defenses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adversaries.goals.membership import ADVERSARIES, MembershipAdversary, Numbers, Readings, Sight

_PENALTIES = np.logspace(-2, 6, 9)


@ADVERSARIES.register("shadow-classifier", goals=("membership",), order=30)
@dataclass(frozen=True, kw_only=True)
class ShadowClassifier(MembershipAdversary):
    """Learns from the releases of its own shadow defenses how those of members look.

    Knows: the image, its label, its release, what the target makes of that, and shadow defenses.
    Does: ridge regression on all signals and on the release itself; the penalty by leave-one-out.

    Source: Shokri et al., Membership inference attacks against machine learning models, 2017, arXiv 1610.05820.
    """

    def score(self, sight: Sight) -> Numbers:
        """The regression's output, around 0 for non-members and 1 for members."""
        from sklearn.linear_model import RidgeCV

        rows = np.concatenate([_columns(lesson) for lesson in sight.lessons])
        centre, spread = rows.mean(axis=0), rows.std(axis=0)
        scale = np.where(spread > 1e-9 * (np.abs(centre) + 1e-9), 1 / np.maximum(spread, 1e-300), 0.0)

        def prepared(values: Numbers) -> Numbers:
            return np.asarray(np.clip((values - centre) * scale, -20, 20), dtype=np.float64)

        model = RidgeCV(alphas=_PENALTIES).fit(prepared(rows), sight.answers.reshape(-1).astype(np.float64))
        return np.asarray(model.predict(prepared(_columns(sight.readings))), dtype=np.float64)


def _columns(readings: Readings) -> Numbers:
    return np.concatenate([readings.signals, readings.release], axis=1)
