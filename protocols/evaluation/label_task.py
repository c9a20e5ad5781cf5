"""One adversary on one label, as a task: fit it on what its threat model grants, and grade it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.entries import length_of
from adversaries.evaluation_data import EvaluationData, reordered
from adversaries.goals.assess import Graded, assess
from adversaries.goals.label import make_goal
from adversaries.threat import Labels, Level, ThreatModel
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import AGREEMENT, EXPOSED, TURNED, Outcome, Rows, Task, label_arrays
from protocols.evaluation.results import Arm
from vfc.config import configured
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed


@dataclass(frozen=True, kw_only=True)
class LabelTask(Task):
    """One adversary, one threat model, one arm, one seed.

    Args:
        adversary: registered name.
        settings: its options.
        level: threat level of this adversary.
        labels_per_class: granted labels, or None below L2.
        goal: name of the goal, which names the label under attack.
        arm: what is attacked, and how it is controlled.
        seed: attack seed.
        doubled: fit with twice the training.
        world: digest of the data that are attacked.
        draw: which set of labelled releases is granted.
        share: of the whole training that the adversary gets.
        defense: digest of the fitted defense; empty for adversaries that do not ask it.
    """

    adversary: str
    settings: dict[str, Any]
    level: Level
    labels_per_class: Labels | None
    goal: str
    arm: Arm
    seed: int
    doubled: bool
    world: str
    draw: int = 0
    share: float = 1.0
    defense: str = ""

    def make_adversary(self) -> Adversary:
        """The adversary that the task names, with its options.

        Raises:
            UserError: it does not have such an option, or not such a value.
            NotApplicableError: twice its training means nothing.
        """
        return make_adversary(self.adversary, self.settings, doubled=self.doubled)

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Fit the adversary and grade it."""
        # The same draw in every arm: on the identity release attack and ceiling are one and the same.
        further = (self.draw,) if self.draw else ()
        drawn_from = (self.adversary, sorted(self.settings.items()), self.labels_per_class, self.seed, *further)
        world = handle.world()
        graded = graded_on_label(
            self.shortened(self.make_adversary(), world),
            world,
            self.goal,
            ThreatModel(level=self.level, labels_per_class=self.labels_per_class),
            arm=self.arm,
            seed=self.seed,
            fit_seed=derive_seed("fit", *drawn_from),
            defense=handle.defense() if self.defense else None,
            draw=self.draw,
        )
        return label_outcome(graded, by_class=self.labels_per_class in (None, "all"))

    def shortened(self, adversary: Adversary, data: EvaluationData) -> Adversary:
        """The adversary with its share of the whole training.

        Args:
            adversary: with its options.
            data: how many rows it learns from.
        """
        length = length_of(self.adversary, self.settings)
        if self.share == 1.0 or length is None:
            return adversary
        labels, rows = self.labels_per_class, len(data.train)
        rows = labels * data.classes[make_goal(self.goal).label] if isinstance(labels, int) else rows
        changed: Any = {"steps": length.steps(self.settings, rows, self.share)}
        return replace(adversary, **changed)


def make_adversary(name: str, settings: dict[str, Any], *, doubled: bool) -> Adversary:
    """A registered adversary with its options.

    Raises:
        UserError: it does not have such an option, or not such a value.
        NotApplicableError: twice its training means nothing.
    """
    adversary = configured(ADVERSARIES.get(name), settings, name)
    found = adversary.doubled() if doubled else adversary
    if found is None:
        raise NotApplicableError("it does not train by gradient steps")
    return found


def graded_on_label(
    adversary: Adversary,
    data: EvaluationData,
    goal: str,
    threat: ThreatModel,
    *,
    arm: Arm,
    seed: int,
    fit_seed: int,
    defense: Defense | None = None,
    draw: int = 0,
) -> Graded:
    """Fit and grade one adversary; its labelled releases and their permutation are drawn by the attack seed.

    Args:
        adversary: who attacks.
        data: what is attacked.
        goal: its name.
        threat: what the adversary may know.
        arm: attack, or one of its controls.
        seed: attack seed.
        fit_seed: of the adversary's own randomness.
        defense: the fitted defense, which is asked from L3 and shown from L4 on.
        draw: which set of labelled releases is granted.
    """
    wanted = make_goal(goal)
    return assess(
        adversary,
        reordered(data, seed, draw),
        wanted,
        threat,
        arm="attack" if arm == "undefended" else arm,
        seed=derive_seed("shuffled", wanted.label, seed),
        fit_seed=fit_seed,
        defense=defense,
    )


def label_outcome(graded: Graded, *, by_class: bool) -> Outcome:
    """The outcome of a graded adversary.

    Args:
        graded: right and wrong.
        by_class: whether right and wrong about every class are kept, where they were graded.
    """
    arrays = label_arrays(graded.validation.numpy(), graded.targets.numpy(), graded.chance)
    arrays[AGREEMENT] = np.array([graded.agreement])
    arrays[TURNED] = _codes(graded.turned)
    arrays |= {f"{part}.{EXPOSED}": _codes(rows) for part, rows in zip(PARTS, graded.exposed, strict=True)}
    arrays["targets.picked"] = _codes(graded.picked)
    if by_class and graded.classes is not None:
        arrays |= {f"{part}.classes": _codes(codes) for part, codes in zip(PARTS, graded.classes, strict=True)}
    return Outcome(status="measured", arrays=arrays, flags=graded.flags, cost=graded.cost.model_dump())


PARTS = ("validation", "targets")


def _codes(values: Any) -> Rows:
    return np.asarray(values.numpy()).astype(np.uint8)
