"""The task of `membership`: what one defense, the real one or a shadow, makes of some images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from adversaries.attacks.membership.signals import Measured, measure
from adversaries.goals.membership import Readings
from protocols.engine.handles import EvaluationHandle
from protocols.engine.task import Outcome, Task
from vfc.defense import Defense
from vfc.errors import NotApplicableError
from vfc.release import Release
from vfc.seeding import derive_seed


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
        bare: read the target on the images themselves instead.
        seed: of the release's randomness.
    """

    defense: str
    images: str
    name: str
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
        # Randomness of its own for every defense: nobody gets to see the noise of another one's release.
        seed = derive_seed("membership", self.defense, self.name, self.seed)
        generator = torch.Generator().manual_seed(seed)
        found = measure(defense, arrays["images"], arrays["labels"], generator, device=place.device)
        columns = found.readings.signals
        signals = {f"signal.{name}": columns[:, i].copy() for i, name in enumerate(found.names)}
        return Outcome(status="measured", arrays={**signals, "release": found.readings.release})


def measured(outcome: Outcome) -> Measured:
    """What a finished task read.

    Raises:
        NotApplicableError: the task's own reason.
        RuntimeError: it failed.
    """
    if outcome.status == "not_applicable":
        raise NotApplicableError(outcome.reason or "not applicable")
    if outcome.status != "measured":
        raise RuntimeError(outcome.reason or outcome.status)
    names = tuple(sorted(name.removeprefix("signal.") for name in outcome.arrays if name.startswith("signal.")))
    signals = np.stack([outcome.arrays[f"signal.{name}"] for name in names], axis=1)
    return Measured(names=names, readings=Readings(signals=signals, release=outcome.arrays["release"]))
