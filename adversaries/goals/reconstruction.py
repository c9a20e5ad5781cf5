"""Rebuilding images from releases: what such an adversary is, and the only grader of what it rebuilds.

Axes: n releases, m graded rows of a gallery of g images, c channels, h and w pixels, d pixels of one image.
"""

from __future__ import annotations

import resource
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from adversaries.attacker import Attacker
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.evidence import Cost
from adversaries.goals.exposed import confidence, picked
from adversaries.goals.gallery import GALLERY, alike_rows, beside, ranks
from adversaries.goals.image_metrics import psnr, ssim
from adversaries.knowledge import Knowledge
from adversaries.registries import ADVERSARIES as _ADVERSARIES
from adversaries.threat import ThreatModel
from vfc.defense import DEFENSES, Defense
from vfc.errors import KnowledgeError, NotApplicableError
from vfc.registry import Registry
from vfc.training import predict_logits

SHOWN = 16
"""Reconstructions that are kept for people to look at: the worst leaks."""

_CHUNK = 512


# Structure: calibration does not count it.
class Reconstruction(ABC):
    """A fitted adversary, ready to rebuild images from releases that it has never seen."""

    gradient_steps: int = 0
    """How many optimizer steps fitting took."""

    flags: frozenset[str] = frozenset()
    """Doubts that the adversary has about itself (names of `adversaries.health`)."""

    uses_prediction: bool = False
    """Whether `rebuild` reads the target's predictions."""

    @abstractmethod
    def rebuild(
        self, release: Shaped[Tensor, "n ..."], prediction: Int[Tensor, " n"] | None
    ) -> Float[Tensor, "n c h w"]:
        """Rebuild one image per release.

        Args:
            release: releases of one batch as the defense published them.
            prediction: the class that the target predicts on each; None where it is not granted.

        Returns:
            Images; what leaves [0, 1] is clipped before grading.
        """


# Structure: calibration does not count it.
@dataclass(frozen=True, kw_only=True)
class Reconstructor(Attacker):
    """Base of adversaries that rebuild images. They never grade themselves: `assess_images` does.

    Class attributes:
        learns_pairs: whether it is tried with several numbers of pairs.
        per_target: whether it optimizes for every release, so that only some targets can be afforded.
        reads_repeats: whether it reads several releases of one image, shape (n, repeats, ...).
        blind: whether it never looks at the release.
    """

    learns_pairs: ClassVar[bool] = True
    per_target: ClassVar[bool] = False
    reads_repeats: ClassVar[bool] = False
    blind: ClassVar[bool] = False

    @abstractmethod
    def fit(self, view: Knowledge, generator: torch.Generator) -> Reconstruction:
        """Learn from what the view grants.

        Args:
            view: the attacker's whole world.
            generator: the only source of randomness.

        Raises:
            NotApplicableError: this adversary has no meaning for such releases; the reason is shown to the user.
        """


ADVERSARIES = cast("Registry[type[Reconstructor]]", _ADVERSARIES)
"""The registry of adversaries, as those see it that rebuild images."""


@dataclass(frozen=True, kw_only=True)
class ImageScores:
    """How good some reconstructions are, row by row.

    Args:
        psnr: in dB.
        ssim: structural similarity.
        rank: by rule, how many other gallery images are as near as the own original or nearer; 0 is found. Only for
            rows in the gallery.
        chance: for the same rows, the rate at which a random member of the gallery with the same prediction is the
            own original.
        beside: for the same rows, mean PSNR against the gallery's other images with the same prediction; NaN without.
        read: by reader, whether a clean model recognizes the task label.
        sure: by reader, the probability that it gives to what it sees.
        majority: how often the best constant guess of that label is right.
    """

    psnr: Float[Tensor, " n"]
    ssim: Float[Tensor, " n"]
    rank: Mapping[str, Int[Tensor, " m"]]
    chance: Float[Tensor, " m"]
    beside: Float[Tensor, " m"]
    read: Mapping[str, Bool[Tensor, " n"]]
    sure: Mapping[str, Float[Tensor, " n"]]
    majority: float


@dataclass(frozen=True, kw_only=True)
class GradedImages:
    """How one adversary did in one arm.

    Args:
        validation, targets: scores on the attacker's validation part and on the targets.
        shown: positions of the targets that leak most: those that are exposed, the surest first, then the best rebuilt.
        exposed: whether a clean model picks out the reconstruction of such a target itself and names its label right.
        sure: how sure that model is of each.
        images: what was rebuilt for them.
        flags: health flags that the fit itself raised.
        cost: what it took.
    """

    validation: ImageScores
    targets: ImageScores
    shown: Int[Tensor, " s"]
    exposed: Bool[Tensor, " s"]
    sure: Float[Tensor, " s"]
    images: Float[Tensor, "s c h w"]
    flags: tuple[str, ...]
    cost: Cost


def mispaired(world: EvaluationData, generator: torch.Generator) -> EvaluationData:
    """The honesty control: images, with their labels, permuted once against releases over all parts alike."""
    parts = (world.train, world.validation, world.targets)
    if any(part.images is None for part in parts):
        raise NotApplicableError("the originals are unknown, so there are no pairs")
    order = torch.randperm(sum(map(len, parts)), generator=generator).to(world.train.release.device)
    images = torch.cat([part.images for part in parts if part.images is not None])[order]
    labels = {name: torch.cat([part.labels[name] for part in parts])[order] for name in world.train.labels}
    moved, start = [], 0
    for part in parts:
        rows = slice(start, start + len(part))
        moved.append(replace(part, images=images[rows], labels={name: v[rows] for name, v in labels.items()}))
        start += len(part)
    return replace(world, train=moved[0], validation=moved[1], targets=moved[2])


def paired_arm(world: EvaluationData, arm: str, seed: int) -> EvaluationData:
    """The world as one arm sees it: `attack` the releases, `ceiling` the images, `shuffled` permuted pairs."""
    if arm == "ceiling":
        return world.on_images()
    return mispaired(world, torch.Generator().manual_seed(seed)) if arm == "shuffled" else world


def assess_images(
    adversary: Reconstructor,
    world: EvaluationData,
    task: str,
    threat: ThreatModel,
    *,
    arm: str,
    seed: int,
    fit_seed: int,
    defense: Defense | None = None,
    limits: tuple[int, int] | None = None,
) -> GradedImages:
    """Fit an adversary on what its threat model grants and grade what it rebuilds.

    Args:
        adversary: who attacks.
        world: everything; the adversary gets a `Knowledge` of the arm's version of it.
        task: the label that the target predicts.
        threat: what the adversary may know.
        arm: `attack`, `ceiling` or `shuffled`.
        seed: seed of the arm (the permutation of the shuffled control).
        fit_seed: seed of the adversary's own randomness.
        defense: the fitted defense, for white-box adversaries; the ceiling's is the identity.
        limits: how many rows of validation and targets are rebuilt; None: all.

    Raises:
        NotApplicableError: the adversary or the arm has no meaning for this release.
        KnowledgeError: the adversary asked for more than it was granted.
    """
    if arm == "shuffled" and adversary.blind:
        raise NotApplicableError("it never looks at the release, so there is nothing to shuffle")
    started = time.perf_counter()
    seen = paired_arm(world, arm, seed)
    if arm == "ceiling":
        defense = None if defense is None else DEFENSES.get("identity")()
        if adversary.reads_repeats:
            seen = _unrepeated(seen)
    view = Knowledge(seen, threat, task, predictions=True, defense=defense)
    attack = adversary.fit(view, torch.Generator().manual_seed(fit_seed))
    flags = set(attack.flags)
    scores, rebuilt = [], torch.empty(0)
    for part, limit in zip((seen.validation, seen.targets), limits or (None, None), strict=True):
        rebuilt = _rebuilt(attack, part, limit, known=True)
        read = _rebuilt(attack, part, limit, known=False) if attack.uses_prediction else rebuilt
        if not (torch.isfinite(rebuilt).all() and torch.isfinite(read).all()):
            flags.add("NONFINITE_GUESS")
        rebuilt = torch.nan_to_num(rebuilt).clamp(0, 1)
        # The task label must not be guessed from the target's own prediction of it.
        scores.append(_scores(rebuilt, torch.nan_to_num(read).clamp(0, 1), part, seen, task))
    worst, exposed, sure = _worst(scores[0], scores[1])
    return GradedImages(
        validation=scores[0],
        targets=scores[1],
        shown=worst,
        exposed=exposed,
        sure=sure,
        images=rebuilt[worst],
        flags=tuple(sorted(flags)),
        cost=Cost(
            seconds=round(time.perf_counter() - started, 4),
            gradient_steps=attack.gradient_steps,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        ),
    )


def _scores(
    rebuilt: Float[Tensor, "n c h w"], read: Float[Tensor, "n c h w"], part: Part, world: EvaluationData, task: str
) -> ImageScores:
    """Grade row i of both against row i of the part."""
    if part.images is None:
        raise NotApplicableError("the originals are unknown, so no reconstruction can be graded")
    images = part.images.cpu()
    gallery = images[:GALLERY]
    prediction = None if part.prediction is None else part.prediction[:GALLERY].cpu()
    m = min(len(rebuilt), len(gallery))
    truth = part.labels[task][: len(rebuilt)].cpu()
    logits = {name: predict_logits(model, read) for name, model in world.models.items()}
    own = images[: len(rebuilt)]
    alike = alike_rows(len(gallery), prediction)[:m]
    return ImageScores(
        psnr=psnr(rebuilt, own),
        ssim=torch.cat(
            [ssim(a, b) for a, b in zip(torch.split(rebuilt, _CHUNK), torch.split(own, _CHUNK), strict=True)]
        ),
        rank=ranks(rebuilt[:m], gallery, prediction),
        chance=1 / alike.sum(1),
        beside=beside(rebuilt[:m], gallery, alike),
        read={name: found.argmax(1) == truth for name, found in logits.items()},
        sure={name: confidence(found, "logits") for name, found in logits.items()},
        majority=float(torch.bincount(truth).max() / len(truth)),
    )


def _worst(validation: ImageScores, targets: ImageScores) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the targets that are shown, whether each is exposed, and how sure the reader of it is.

    The reader is the one that does best on the validation part, which also says how sure is sure enough.
    """
    count = len(targets.chance)
    sure, exposed = torch.zeros(count), torch.zeros(count, dtype=torch.bool)
    if validation.read:
        best = max(validation.read, key=lambda name: float(validation.read[name].double().mean()))
        sure = targets.sure[best][:count]
        exposed = picked(validation.sure[best], validation.read[best], sure) & targets.read[best][:count]
    order = targets.psnr[:count].argsort(descending=True, stable=True)
    order = order[torch.where(exposed, sure, -1.0)[order].argsort(descending=True, stable=True)][:SHOWN]
    return order, exposed[order], sure[order]


def _rebuilt(attack: Reconstruction, part: Part, limit: int | None, *, known: bool) -> Tensor:
    """Ask for reconstructions in chunks; without `known` the target's predictions are kept back."""
    if part.images is None:
        raise NotApplicableError("the originals are unknown, so no reconstruction can be graded")
    count = len(part) if limit is None else min(limit, len(part))
    pieces = []
    for start in range(0, count, _CHUNK):
        rows = slice(start, min(start + _CHUNK, count))
        seen = part.prediction[rows].clone() if known and part.prediction is not None else None
        # A copy: what an attack does to its input must not reach the next one.
        pieces.append(attack.rebuild(part.release[rows].clone(), seen).detach().float().cpu())
    rebuilt = torch.cat(pieces)
    expected = (count, *part.images.shape[1:])
    if tuple(rebuilt.shape) != expected:
        raise KnowledgeError(f"expected reconstructions of shape {expected}, got {tuple(rebuilt.shape)}")
    return rebuilt


def _unrepeated(world: EvaluationData) -> EvaluationData:
    """Images in the form of repeated releases: one repeat each."""
    parts = [replace(part, release=part.release[:, None]) for part in (world.train, world.validation, world.targets)]
    return replace(world, train=parts[0], validation=parts[1], targets=parts[2])
