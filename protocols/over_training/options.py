"""What `vfc leakage --over-training` was asked for. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vfc.errors import UserError

COUNT, FEWEST = 12, 3

TRAINING = ("target", "width", "overrides")
"""Options that only a training of its own obeys."""

ATTACK = ("shadows", "members")
"""Options that only the membership attack obeys."""


@dataclass(frozen=True, kw_only=True)
class OverTraining:
    """What only `--over-training` has.

    Args:
        release: a run folder that holds checkpoints.
        part: of that folder, `target` or `encoder`.
        checkpoints: how many states a training of its own keeps, or a pattern of files.
        shadows: trainings of the attacker; 0 or at least 2.
        members: members that are asked about, at most, and as many non-members.
    """

    release: str | None = None
    part: str = "target"
    checkpoints: str | None = None
    shadows: int = 4
    members: int = 500

    def checked(self, model: str | None, given: Sequence[str] = ()) -> OverTraining:
        """Itself, if the options go together.

        Args:
            model: the user's factory, or None.
            given: names of the options that the user typed.

        Raises:
            UserError: they do not.
        """
        if model is not None and self.release is not None:
            raise UserError("expected --release or --model, got both", "leave one of them out")
        self._check_useful(model, given)
        if self.release is None and self.part != "target":
            raise UserError(f"expected --release beside --part {self.part}, got none", "name a run folder")
        if self.release is not None and self.checkpoints is not None:
            raise UserError("expected no --checkpoints beside --release, which has its own, got both", "leave it out")
        if model is not None and self.checkpoints is None:
            raise UserError("expected the checkpoints of --model, got none", "--checkpoints 'path/*.pt'")
        if self.shadows == 1:
            raise UserError("expected 2 or more --shadows, or 0 for none, got 1", "a threshold needs two of them")
        if model is None and self.release is None and self.count < FEWEST:
            raise UserError(f"expected {FEWEST} or more --checkpoints, got {self.checkpoints}", "12, say")
        return self

    def _check_useful(self, model: str | None, given: Sequence[str]) -> None:
        """Refuse what would change nothing."""
        useless: dict[str, Sequence[str]] = {}
        if model is not None:
            useless["--model, whose states are given and whose members nobody knows"] = (*TRAINING, *ATTACK)
        if self.release is not None:
            useless["--release, which is trained already"] = TRAINING
        if self.shadows == 0:
            useless["--shadows 0, which asks nobody"] = ("members",)
        for beside, names in useless.items():
            for name in names:
                if name in given:
                    raise UserError(f"expected no --{spelled(name)} beside {beside}, got both", "leave it out")

    @property
    def count(self) -> int:
        """How many states a training of its own keeps.

        Raises:
            UserError: no number.
        """
        text = self.checkpoints or str(COUNT)
        if not text.isascii() or not text.isdigit() or len(text) > 5:
            raise UserError(f"expected a number as --checkpoints without --model, got {text[:60]!r}", "12, say")
        return int(text)


def spelled(name: str) -> str:
    """The name of an option as the user types it."""
    return name.replace("_", "-").replace("overrides", "set")
