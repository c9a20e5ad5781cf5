"""Matching releases with a gallery of what they might stand for: what such an adversary is, and its only grader.

Axes: n releases, g gallery images, c channels, h and w pixels.
"""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Shaped
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from adversaries.attacker import Attacker
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.evidence import Cost
from adversaries.goals.gallery import GALLERY, alike_rows
from adversaries.goals.reconstruction import paired_arm
from adversaries.knowledge import Knowledge
from adversaries.registries import ADVERSARIES as _ADVERSARIES
from adversaries.threat import ThreatModel
from vfc.defense import DEFENSES, Defense
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.registry import Registry
from vfc.seeding import derive_seed

RULES = ("alone", "assignment")
"""Every release takes its best match by itself, or all together such that no image is taken twice."""

_FAR = 1e6


# Structure: calibration does not count it.
class Matching(ABC):
    """A fitted adversary, ready to compare releases with images that it has never seen."""

    gradient_steps: int = 0
    """How many optimizer steps fitting took."""

    flags: frozenset[str] = frozenset()
    """Doubts that the adversary has about itself (names of `adversaries.health`)."""

    @abstractmethod
    def scores(self, release: Shaped[Tensor, "n ..."], gallery: Float[Tensor, "g c h w"]) -> Float[Tensor, "n g"]:
        """How likely each release stands for each gallery image; any scale, larger is likelier.

        Args:
            release: releases as the defense published them.
            gallery: the images, in an order that tells nothing.
        """


# Structure: calibration does not count it.
@dataclass(frozen=True, kw_only=True)
class Matcher(Attacker):
    """Base of adversaries that match. They never grade themselves: `assess_matching` does.

    Class attributes:
        learns_pairs: whether it is tried with several numbers of pairs.
        needs_images: whether the gallery must hold images, not other releases.
    """

    learns_pairs: ClassVar[bool] = True
    needs_images: ClassVar[bool] = False

    @abstractmethod
    def fit(self, view: Knowledge, generator: torch.Generator) -> Matching:
        """Learn from what the view grants.

        Args:
            view: the attacker's whole world.
            generator: the only source of randomness.

        Raises:
            NotApplicableError: this adversary has no meaning for such releases; the reason is shown to the user.
        """


ADVERSARIES = cast("Registry[type[Matcher]]", _ADVERSARIES)
"""The registry of adversaries, as those see it that match."""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Which matches were right.

    Args:
        hit: by rule, per release.
        chance: per release, the rate at which a random gallery image with the same prediction is right.
    """

    hit: Mapping[str, Bool[Tensor, " n"]]
    chance: Float[Tensor, " n"]


@dataclass(frozen=True, kw_only=True)
class GradedMatches:
    """How one adversary did in one arm.

    Args:
        validation, targets: matches among the attacker's validation part and among the targets.
        flags: health flags that the fit itself raised.
        cost: what it took.
    """

    validation: Matches
    targets: Matches
    flags: tuple[str, ...]
    cost: Cost


def assess_matching(
    adversary: Matcher,
    world: EvaluationData,
    task: str,
    threat: ThreatModel,
    *,
    arm: str,
    seed: int,
    fit_seed: int,
    defense: Defense | None = None,
) -> GradedMatches:
    """Fit an adversary on what its threat model grants and grade its matches.

    Where there is a target, everybody knows its prediction on every release, so only images compete whose own release
    has the same prediction.

    Args:
        adversary: who attacks.
        world: everything; its `images` are what releases are matched with.
        task: the label that the target predicts.
        threat: what the adversary may know.
        arm: `attack`, `ceiling` or `shuffled`.
        seed: seed of the arm (the permutation of the shuffled control) and of the gallery's order.
        fit_seed: seed of the adversary's own randomness.
        defense: the fitted defense, for white-box adversaries; the ceiling's is the identity.

    Raises:
        NotApplicableError: the adversary or the arm has no meaning for this release.
        KnowledgeError: the adversary asked for more than it was granted.
    """
    started = time.perf_counter()
    seen = paired_arm(world, arm, seed)
    if arm == "ceiling":
        defense = None if defense is None else DEFENSES.get("identity")()
    view = Knowledge(seen, threat, task, predictions=True, defense=defense)
    attack = adversary.fit(view, torch.Generator().manual_seed(fit_seed))
    flags = set(attack.flags)
    graded = []
    for name, part in (("validation", seen.validation), ("targets", seen.targets)):
        matches, finite = _matched(attack, part, derive_seed("gallery", name, seed))
        graded.append(matches)
        flags |= set() if finite else {"NONFINITE_GUESS"}
    return GradedMatches(
        validation=graded[0],
        targets=graded[1],
        flags=tuple(sorted(flags)),
        cost=Cost(
            seconds=round(time.perf_counter() - started, 4),
            gradient_steps=attack.gradient_steps,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        ),
    )


def _matched(attack: Matching, part: Part, seed: int) -> tuple[Matches, bool]:
    """Matches of a part's first rows among themselves, and whether all scores were finite."""
    if part.images is None:
        raise NotApplicableError("the originals are unknown, so there is nothing to match releases with")
    release, gallery = part.release[:GALLERY], part.images[:GALLERY]
    prediction = None if part.prediction is None else part.prediction[:GALLERY]
    n = len(release)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(gallery.device)
    scores = attack.scores(release.clone(), gallery[order].clone()).detach().double().cpu()
    if scores.shape != (n, n):
        raise KnowledgeError(f"expected scores of shape {(n, n)}, got {tuple(scores.shape)}")
    finite = bool(torch.isfinite(scores).all())
    alike = alike_rows(n, prediction).cpu()
    content = torch.unique(gallery.cpu().flatten(1), dim=0, return_inverse=True)[1]
    order = order.cpu()
    scores = torch.nan_to_num(scores, nan=-_FAR).clamp(-_FAR, _FAR)
    scores = scores.masked_fill(~alike[:, order], -100 * _FAR)
    taken = {"alone": scores.argmax(1), "assignment": torch.from_numpy(linear_sum_assignment(-scores.numpy())[1])}
    # An image that equals the own original is the own original.
    hits = {rule: content[order[taken[rule]]] == content for rule in RULES}
    return Matches(hit=hits, chance=1 / alike.sum(1)), finite
