"""The only grader. An adversary returns guesses; what they are worth is decided here, per target, for every arm."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from adversaries.adversary import Adversary, Attack
from adversaries.evaluation_data import EvaluationData, Part
from adversaries.evidence import Cost
from adversaries.goals.exposed import confidence, picked
from adversaries.goals.label import Attribute, LabelGoal, joint_counts
from adversaries.health import HARD, KINDS
from adversaries.knowledge import Knowledge
from adversaries.planting import planted
from adversaries.threat import ThreatModel
from vfc.defense import Defense
from vfc.defenses.nulls.identity import Identity
from vfc.errors import KnowledgeError, NotApplicableError

ARMS = ("attack", "ceiling", "shuffled", "planted")
PLANTED = 0.5
"""Share of the rows in which a label is planted: by the planted arm, and by the ceiling where originals are unknown."""
_CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Graded:
    """How one adversary did in one arm.

    Args:
        validation: right or wrong on each graded row of the attacker's validation part.
        targets: right or wrong on each graded target.
        chance: the rate of the best constant guess on this arm's targets.
        agreement: the rate at which guesses as frequent as these are right by chance: the sum over classes of their
            share among the guesses times their share among the targets.
        turned: right or wrong on each graded target where every guess stands for the class that it comes with most
            often on the validation part.
        exposed: on the validation part and on the targets, whether a graded row was picked out by the attack itself and
            named right.
        picked: whether a graded target was picked out.
        classes: of an attribute, `Attribute.by_class` on all rows of the validation part and of the targets.
        flags: health flags that the fit itself raised.
        cost: what it took.
    """

    validation: Bool[Tensor, " m"]
    targets: Bool[Tensor, " n"]
    chance: float
    agreement: float
    turned: Bool[Tensor, " n"]
    exposed: tuple[Bool[Tensor, " m"], Bool[Tensor, " n"]]
    picked: Bool[Tensor, " n"]
    flags: tuple[str, ...]
    cost: Cost
    classes: tuple[Int[Tensor, "v q"], Int[Tensor, "t q"]] | None = None


def arm_world(world: EvaluationData, goal: LabelGoal, arm: str, seed: int) -> EvaluationData:
    """The world as one arm sees it: `attack` the releases, `ceiling` the images, `shuffled` permuted labels.

    `planted` is a copy of the releases with the label planted in some: an adversary that misses it has no power here.
    Where the originals are unknown the ceiling is a copy of the releases with the label planted. Arms whose names begin
    with `planted:` plant it in a way that common readers miss.
    """
    if arm.startswith(HARD):
        kind = next(each for each in KINDS if arm == f"{HARD}{each}")
        return planted(world, goal.label, kind, PLANTED, torch.Generator().manual_seed(seed))
    if arm == "planted":
        return world.planted(goal.label, PLANTED, torch.Generator().manual_seed(seed))
    if arm == "ceiling":
        if world.train.images is None:
            return world.planted(goal.label, PLANTED, torch.Generator().manual_seed(seed))
        return world.on_images()
    if arm == "shuffled":
        # One permutation per seed for all adversaries, drawn before anything is fitted.
        return world.shuffled(goal.label, torch.Generator().manual_seed(seed))
    return world


def assess(
    adversary: Adversary,
    world: EvaluationData,
    goal: LabelGoal,
    threat: ThreatModel,
    *,
    arm: str,
    seed: int,
    fit_seed: int,
    defense: Defense | None = None,
) -> Graded:
    """Fit an adversary on what its threat model grants and grade its guesses.

    Args:
        adversary: who attacks.
        world: everything; the adversary gets a `Knowledge` of the arm's version of it.
        goal: what is graded.
        threat: what the adversary may know.
        arm: `attack`, `ceiling`, `shuffled` or `planted`.
        seed: seed of the arm (the permutation of the shuffled control).
        fit_seed: seed of the adversary's own randomness.
        defense: the fitted defense, which the view lets ask from L3 and hands out from L4 on; on the images
            everybody publishes the images.

    Raises:
        NotApplicableError: the adversary or the arm has no meaning for this release.
        KnowledgeError: the adversary asked for more than it was granted.
    """
    if arm == "shuffled" and not reads_labels(type(adversary)):
        raise NotApplicableError("no label of a release is read, so there is nothing to shuffle")
    started = time.perf_counter()
    seen = arm_world(world, goal, arm, seed)
    informed = goal.grants_prediction and adversary.uses_prediction
    asked = Identity() if arm == "ceiling" and seen.train.images is not None else defense
    view = Knowledge(seen, threat, goal.label, predictions=informed, defense=asked)
    if adversary.needs_image_shape and not view.image_shaped:
        raise NotApplicableError("the release is not shaped like an image")
    attack = adversary.fit(view, torch.Generator().manual_seed(fit_seed))
    flags = set(attack.flags)
    prior = _prior(adversary, seen, goal, threat)
    rows, sure, classes, said = [], [], [], []
    for part in (seen.validation, seen.targets):
        guess = _guess(attack, part, view.num_classes, informed=informed)
        if not torch.isfinite(guess).all():
            flags.add("NONFINITE_GUESS")
        guess, graded = torch.nan_to_num(guess), goal.graded(seen, part).cpu()
        decided = goal.decided(guess, attack.scale, prior, seen)
        rows.append(goal.rows(decided, part).cpu()[graded])
        sure.append(confidence(decided, attack.scale).cpu()[graded])
        said.append((decided.argmax(1).cpu()[graded], part.labels[goal.label].cpu()[graded]))
        if isinstance(goal, Attribute):
            classes.append(goal.by_class(goal.says(guess, attack.scale, prior, seen), seen, part).cpu())
    picks = [picked(sure[0], rows[0], each) for each in sure]
    return Graded(
        validation=rows[0],
        targets=rows[1],
        chance=goal.chance(seen.targets.labels[goal.label][goal.graded(seen, seen.targets)]),
        agreement=_agreement(*said[1]),
        turned=_turned(said[0], said[1], view.num_classes),
        exposed=(picks[0] & rows[0], picks[1] & rows[1]),
        picked=picks[1],
        classes=(classes[0], classes[1]) if classes else None,
        flags=tuple(sorted(flags)),
        cost=Cost(
            seconds=round(time.perf_counter() - started, 4),
            gradient_steps=attack.gradient_steps,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        ),
    )


def reads_labels(kind: type[Adversary]) -> bool:
    """Whether the shuffled control applies: from L2 on always, whatever the adversary declares."""
    return kind.trains_on_labels or kind.level >= "L2"


def _prior(adversary: Adversary, world: EvaluationData, goal: LabelGoal, threat: ThreatModel) -> Tensor:
    """How frequent the classes were in what an adversary learned from: K of each, or the whole pool."""
    classes = world.classes[goal.label]
    if reads_labels(type(adversary)) and isinstance(threat.labels_per_class, int):
        return torch.full((classes,), 1 / classes)
    counts = torch.bincount(world.train.labels[goal.label], minlength=classes).cpu()
    return counts / counts.sum()


def _agreement(guesses: Int[Tensor, " m"], labels: Int[Tensor, " m"]) -> float:
    """The rate at which guesses that are independent of the labels would be right, given how frequent both are."""
    classes = int(max(guesses.max(), labels.max())) + 1 if len(labels) else 1
    shares = [torch.bincount(each, minlength=classes).double() / max(1, len(each)) for each in (guesses, labels)]
    return float((shares[0] * shares[1]).sum())


def _turned(
    validation: tuple[Int[Tensor, " m"], Int[Tensor, " m"]],
    targets: tuple[Int[Tensor, " n"], Int[Tensor, " n"]],
    classes: int,
) -> Bool[Tensor, " n"]:
    """Right or wrong on the targets for whoever has learned on the validation part what each guess stands for.

    Args:
        validation, targets: guesses and labels.
        classes: how many there are.
    """
    counts = joint_counts(*validation, classes, classes)
    # A guess that was never seen there stands for itself.
    table = torch.where(counts.sum(1) > 0, counts.argmax(1), torch.arange(classes))
    return table[targets[0]] == targets[1]


def _guess(attack: Attack, part: Part, classes: int, *, informed: bool) -> Tensor:
    """Ask for guesses in chunks; the attack is handed releases and, where it is informed, the target's predictions."""
    pieces = []
    for start in range(0, len(part), _CHUNK):
        rows = slice(start, start + _CHUNK)
        # A copy: what an attack does to its input must not reach the next one.
        release = part.release[rows].clone()
        if informed and part.prediction is not None:
            guess = attack.guess_knowing(release, part.prediction[rows].clone())
        else:
            guess = attack.guess(release)
        pieces.append(guess.detach().float().cpu())
    guess = torch.cat(pieces)
    if guess.shape != (len(part), classes):
        raise KnowledgeError(f"expected guesses of shape {(len(part), classes)}, got {tuple(guess.shape)}")
    return guess
