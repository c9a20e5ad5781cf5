"""The tasks of `evasion`: one attack in all balls of one norm, or a random step in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adversaries.attacks.evasion.ball import Ball
from adversaries.attacks.evasion.base import ADVERSARIES, Evasion
from adversaries.attacks.evasion.pipeline import Bare, Deployed
from adversaries.goals.evasion import Scene, random_corners, try_attack
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from protocols.evaluation.results import Arm
from vfc.config import configured
from vfc.errors import NotApplicableError
from vfc.seeding import derive_seed

POOL = 500
"""Images of the attacker's own that are looked at for starting points, at most."""

ARMS: tuple[Arm, ...] = ("attack", "ceiling")
"""On the deployed pipeline, and on its target alone, which an attack must be able to fool."""


@dataclass(frozen=True, kw_only=True)
class EvasionTask(Task):
    """What all tasks of `evasion` depend on.

    Args:
        norm: of the balls.
        budgets: their radii as the run writes them, in rising order.
        label: the task label.
        rows: how many targets are attacked, the first in content-hash order.
        draws: draws of the defense's randomness per gradient, decision and score.
        arm: attack or ceiling.
        seed: attack seed.
        data: digest of the images and labels.
        pipeline: digest of what is attacked.
    """

    norm: str
    budgets: list[str]
    label: str
    rows: int
    draws: int
    arm: Arm
    seed: int
    data: str
    pipeline: str

    @property
    def balls(self) -> list[Ball]:
        """The balls."""
        return [Ball(norm=self.norm, budget=budget) for budget in self.budgets]

    def scene(self, handle: EvaluationHandle) -> Scene:
        """What is attacked.

        Raises:
            NotApplicableError: only releases were given; or the target cannot be attacked alone.
        """
        world, defense = handle.world(), handle.defense()
        targets = world.targets
        if targets.images is None or world.train.images is None:
            raise NotApplicableError("the originals are unknown, so there is nothing to perturb")
        use: Deployed | Bare = Deployed(defense=defense)
        if self.arm == "ceiling":
            if defense.target is None:
                raise NotApplicableError("there is no target that reads images")
            use = Bare(target=defense.target)
        return Scene(
            use=use,
            images=targets.images[: self.rows].cpu(),
            labels=targets.labels[self.label][: self.rows].cpu(),
            pool=world.train.images[:POOL],
            draws=self.draws,
            seed=derive_seed("evasion", self.seed),
            device=handle.device,
        )


@dataclass(frozen=True, kw_only=True)
class AttackTask(EvasionTask):
    """One attack in all balls of one norm.

    Args:
        adversary: registered name.
        settings: its options.
        doubled: with twice the steps or queries.
        libraries: their versions.
    """

    adversary: str
    settings: dict[str, Any]
    doubled: bool
    libraries: dict[str, str]

    def make_adversary(self) -> Evasion:
        """The attack, with its options."""
        adversary = configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary)
        return adversary.doubled() if self.doubled else adversary

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Attack and grade."""
        trial = try_attack(self.make_adversary(), self.scene(handle), self.balls)
        right = trial.right.numpy().astype(np.uint8)
        return Outcome(
            status="measured",
            flags=trial.flags,
            cost=trial.cost.model_dump(),
            arrays={
                "right": right,
                "share": trial.share.numpy(),
                "margin": trial.margin.numpy(),
                "left": trial.left.numpy().astype(np.uint8),
                "crashed": trial.crashed.numpy().astype(np.uint8),
            },
        )


@dataclass(frozen=True, kw_only=True)
class BaselineTask(EvasionTask):
    """The images as they are, and a random step of full length in every ball: no attack at all."""

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Score both."""
        scene = self.scene(handle)
        right = torch.stack([random_corners(scene, ball) for ball in self.balls])
        untouched = scene.graded(scene.images).numpy().astype(np.uint8)
        return Outcome(
            status="measured",
            arrays={
                "right": right.numpy().astype(np.uint8),
                "untouched": untouched,
                "share": scene.untouched.right.numpy(),
                "margin": scene.untouched.margin.numpy(),
            },
        )
