"""Matching releases with a gallery: what must be found, what must not, and which control catches a broken adversary.

Registered names that this file shows at work: matcher, replay.
"""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from adversaries.attacks.linkage.matcher import LearnedMatcher
from adversaries.attacks.linkage.replay import Replay
from adversaries.goals.matching import Matcher, Matching, assess_matching
from adversaries.threat import ThreatModel
from tests.adversaries.test_reconstruction import (
    constant,
    generator,
    integers,
    mixing,
    noise,
    originals,
    vectors,
    world,
)
from vfc.defense import DEFENSES
from vfc.errors import KnowledgeError, NotApplicableError


def grade(adversary, some, *, arm="attack", level="L3", defense=None):
    threat = ThreatModel(level=level)
    return assess_matching(adversary, some, "y", threat, arm=arm, seed=3, fit_seed=4, defense=defense)


def rates(graded):
    return {rule: float(hits.double().mean()) for rule, hits in graded.targets.hit.items()}


@pytest.mark.parametrize("form", ["decode", "encode"])
@pytest.mark.parametrize("leak", [mixing, integers, vectors])
def test_known_plaintext_links_releases_to_images(form, leak):
    graded = grade(LearnedMatcher(form=form), world(leak(originals()[0])))
    assert max(rates(graded).values()) >= 0.98
    assert max(rates(grade(LearnedMatcher(form=form), world(leak(originals()[0])), arm="shuffled")).values()) < 0.1


@pytest.mark.parametrize("null", [noise, constant])
@pytest.mark.parametrize("form", ["decode", "encode", "raw"])
def test_nothing_links_where_nothing_is(null, form):
    graded = grade(LearnedMatcher(form=form), world(null(originals()[0])))
    assert max(rates(graded).values()) < 0.1


def test_assignment_uses_that_no_image_is_taken_twice():
    x = originals()[0]
    blurred = x + 0.25 * torch.randn(x.shape, generator=generator(5))
    found = rates(grade(LearnedMatcher(), world(blurred, prediction=False)))
    assert found["assignment"] > found["alone"] + 0.02
    assert found["alone"] > 0.2


def test_matches_are_those_of_scipy_and_of_the_largest_score():
    table = torch.randn(120, 120, generator=generator(8))

    class Fixed(Matching):
        """Scores by the content of the gallery, whatever its order."""

        def scores(self, release, gallery):
            near = torch.cdist(gallery.flatten(1), originals()[0][-120:].flatten(1)).argmin(1)
            return table[:, near]

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Tabled(Matcher):
        level = "L3"

        def fit(self, view, generator):
            return Fixed() if len(view.pairs[0]) else None

    some = world(originals()[0], prediction=False)
    some = dataclasses.replace(some, validation=some.targets)
    hit = grade(Tabled(), some).targets.hit
    assert hit["alone"].tolist() == (table.argmax(1) == torch.arange(120)).tolist()
    assigned = linear_sum_assignment(-table.numpy())[1]
    assert hit["assignment"].tolist() == (assigned == np.arange(120)).tolist()


def test_replay_finds_every_deterministic_release():
    x = originals()[0]
    defense = DEFENSES.get("quantization")()
    some = world(defense.publish(x, generator(1)).values)
    assert rates(grade(Replay(), some, level="L4", defense=defense))["alone"] >= 0.98
    nothing = world(DEFENSES.get("constant")().publish(x, generator(1)).values)
    assert rates(grade(Replay(), nothing, level="L4", defense=DEFENSES.get("constant")()))["alone"] < 0.1
    with pytest.raises(NotApplicableError):
        grade(Replay(), some, level="L4", defense=DEFENSES.get("label-release")())
    with pytest.raises(KnowledgeError):
        grade(Replay(), some, level="L3", defense=defense)


def test_the_floor_is_a_random_image_with_the_same_prediction():
    y = originals()[1]
    graded = grade(LearnedMatcher(), world(y.float()[:, None]))
    counts = torch.bincount(y[-120:]).double()
    expected = float((counts / 120 / counts).sum())
    assert float(graded.targets.chance.double().mean()) == pytest.approx(expected)
    for rate in rates(graded).values():
        assert rate == pytest.approx(expected, abs=0.04)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cheat(Matcher):
    """Knows the targets' pairs by heart."""

    level = "L3"

    def fit(self, view, generator):
        part = view.leaked.targets

        class Known(Matching):
            def scores(self, release, gallery):
                row = torch.cdist(release.flatten(1).float(), part.release.flatten(1).float()).argmin(1)
                return -torch.cdist(part.images[row].flatten(1), gallery.flatten(1))

        return Known()


@pytest.mark.usefixtures("leaky_views")
def test_the_shuffled_arm_catches_who_has_seen_the_targets():
    some = world(noise(originals()[0]))
    assert rates(grade(Cheat(), some))["alone"] == 1.0
    assert rates(grade(Cheat(), some, arm="shuffled"))["alone"] == 1.0


class Endless(Matching):
    def scores(self, release, gallery):
        return torch.full((len(release), len(gallery)), torch.nan)


class Short(Matching):
    def scores(self, release, gallery):
        return torch.zeros(1, 1)


@pytest.mark.parametrize("made", [Endless(), Short()])
def test_malformed_scores_are_refused_or_flagged(made):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wrong(Matcher):
        level = "L3"

        def fit(self, view, generator):
            return made

    if isinstance(made, Short):
        with pytest.raises(KnowledgeError, match="shape"):
            grade(Wrong(), world(originals()[0]))
    else:
        assert grade(Wrong(), world(originals()[0])).flags == ("NONFINITE_GUESS",)


def test_a_score_that_is_no_number_is_the_last_one_to_match():
    x = originals()[0]

    class Partly(Matching):
        def scores(self, release, gallery):
            scores = -1 - torch.cdist(release.flatten(1), gallery.flatten(1))
            return scores.masked_fill(gallery.flatten(1).mean(1) > x.flatten(1).mean(1).median(), torch.nan)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Half(Matcher):
        level = "L3"

        def fit(self, view, generator):
            return Partly()

    graded = grade(Half(), world(x, prediction=False))
    assert graded.flags == ("NONFINITE_GUESS",)
    assert 0.3 < rates(graded)["alone"] < 0.7
    assert graded.cost.gradient_steps == 0
