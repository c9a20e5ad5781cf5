"""The tasks of `membership`: reading what a defense makes of images, and one attack in one arm.

Axes: s shadows, m images in question, u images of the shadows' universe, k signals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adversaries.attacks.membership.signals import Measured, measure
from adversaries.evidence import Cost
from adversaries.goals.membership import ADVERSARIES, Readings, Shadows, Truth
from adversaries.goals.membership_grading import MembershipInputs, assess_membership
from protocols.engine.executors.base import StoppedError
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import EXPOSED, Outcome, Task
from vfc.artifact import load_arrays
from vfc.config import configured
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.release import Release
from vfc.seeding import derive_seed

FALSE_RATE = 0.01
"""False positive rate at which `membership.tpr@0.01` is read."""


class Undefended(Defense):
    """The image itself, handed to the target: its own leak, beside that of the defense."""

    def publish(self, x: torch.Tensor, generator: torch.Generator) -> Release:  # noqa: ARG002
        """The images."""
        return Release(values=x)


@dataclass(frozen=True, kw_only=True)
class ReadTask(Task):
    """Publish images and read the signals of membership.

    Args:
        defense: digest of the defense.
        images: digest of the images and their labels.
        name: the arrays beside the world that hold them: `images` and `labels`.
        whose: `the defense`, or which shadow; each draws for itself.
        bare: read the target on the images themselves instead.
        seed: of the release's randomness.
    """

    defense: str
    images: str
    name: str
    whose: str
    bare: bool
    seed: int

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Read.

        Raises:
            NotApplicableError: there is no defense; or no target that reads images, for `bare`.
        """
        defense = place.defense()
        if self.bare:
            target: nn.Module | None = defense.target
            if target is None:
                raise NotApplicableError("there is no target that reads images")
            defense = Undefended(target=target)
        arrays = place.arrays(self.name)
        # Randomness of its own for every defense: the noise of one release tells nothing of another's. It does not
        # depend on the defense's digest, or every edit of its code would draw other numbers.
        seed = derive_seed("membership", self.whose, self.name, self.seed)
        generator = torch.Generator().manual_seed(seed)
        found = measure(defense, arrays["images"], arrays["labels"], generator, device=place.device)
        columns = found.readings.signals
        signals = {f"signal.{name}": columns[:, i].copy() for i, name in enumerate(found.names)}
        return Outcome(status="measured", arrays={**signals, "release": found.readings.release})


def measured(outcome: Outcome) -> Measured:
    """What a finished task read.

    Raises:
        NotApplicableError: the task's own reason.
        StoppedError: the run was interrupted before.
        RuntimeError: it failed.
    """
    if outcome.status == "not_applicable":
        raise NotApplicableError(outcome.reason or "not applicable")
    if outcome.status == "not_run":
        raise StoppedError
    if outcome.status != "measured":
        raise RuntimeError(outcome.reason or outcome.status)
    names = tuple(sorted(name.removeprefix("signal.") for name in outcome.arrays if name.startswith("signal.")))
    signals = np.stack([outcome.arrays[f"signal.{name}"] for name in names], axis=1)
    return Measured(names=names, readings=Readings(signals=signals, release=outcome.arrays["release"]))


@dataclass(frozen=True, kw_only=True)
class MembershipTask(Task):
    """One membership adversary in one arm, with one seed.

    Args:
        adversary: registered name.
        settings: its options.
        arm: attack, shuffled, ceiling or undefended; or `planted:` and a kind of mark.
        seed: attack seed.
        inputs: the arrays beside the handle that hold what is read; named by a digest of them.
        signals: names of the signals there.
        online: whether the attacker put images in question into the universe.
    """

    adversary: str
    settings: dict[str, Any]
    arm: str
    seed: int
    inputs: str
    signals: tuple[str, ...]
    online: bool

    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Attack and grade."""
        started = time.perf_counter()
        adversary = configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary)
        inputs, truth = _load_inputs(handle.folder / f"{self.inputs}.safetensors", self.signals, self.online)
        seed = derive_seed("membership controls", self.seed)
        graded = assess_membership(adversary, inputs, truth, arm=self.arm, seed=seed)
        fixed = (graded.calibrated.threshold, graded.calibrated.allowing(FALSE_RATE))
        return Outcome(
            status="measured",
            flags=() if graded.finite else ("NONFINITE_GUESS",),
            cost=Cost(seconds=round(time.perf_counter() - started, 4)).model_dump(),
            arrays={
                "validation": np.array([graded.calibrated.advantage]),
                "targets": graded.rows,
                "scores": graded.scores,
                "fixed": np.array([[at, graded.calibrated.false_rate(at)] for at in fixed]),
                f"validation.{EXPOSED}": graded.exposed[0].astype(np.uint8),
                f"targets.{EXPOSED}": graded.exposed[1].astype(np.uint8),
                "targets.picked": graded.picked.astype(np.uint8),
            },
        )


def input_arrays(inputs: MembershipInputs, truth: Truth) -> dict[str, Tensor]:
    """What membership tasks read, as arrays: the truth, readings of the real defense and, stacked, of all shadows."""
    shadows = inputs.shadows
    arrays = {"truth": truth, "member": shadows.member, "inside": shadows.inside}
    groups = {"real": [inputs.real], "universe": shadows.universe, "candidates": shadows.candidates}
    for name, readings in groups.items():
        arrays[f"{name}.signals"] = np.stack([each.signals for each in readings])
        arrays[f"{name}.release"] = np.stack([each.release for each in readings])
    return {name: torch.from_numpy(values) for name, values in arrays.items()}


@lru_cache(maxsize=2)
def _load_inputs(path: Path, signals: tuple[str, ...], online: bool) -> tuple[MembershipInputs, Truth]:
    """What `input_arrays` made, and who is a member."""
    arrays = {name: values.numpy() for name, values in load_arrays(path).items()}

    def readings(name: str) -> list[Readings]:
        pairs = zip(arrays[f"{name}.signals"], arrays[f"{name}.release"], strict=True)
        return [Readings(signals=signals, release=release) for signals, release in pairs]

    shadows = Shadows(
        names=signals,
        universe=readings("universe"),
        member=arrays["member"],
        candidates=readings("candidates"),
        inside=arrays["inside"],
        online=online,
    )
    return MembershipInputs(real=readings("real")[0], shadows=shadows), arrays["truth"]
