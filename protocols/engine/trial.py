"""Units of work, each saved the moment it ends: `Task` is any of them, `Cell` one adversary under one threat model.

A task's file is named by a digest of everything that its result depends on: the adversary and its settings, the data,
the release, the code and the versions of what computes. A run that starts again finds the finished ones.
"""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adversaries.adversary import ADVERSARIES, Adversary
from adversaries.goals.assess import Graded, assess
from adversaries.goals.label import make_goal
from adversaries.threat import ThreatModel
from protocols.engine.handles import EvaluationHandle, reordered
from protocols.engine.settings import digest_of
from vfc.config import configured
from vfc.errors import NotApplicableError, UserError
from vfc.seeding import derive_seed

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One unit of work. Its fields are JSON-ready data and, with the code, all that its result depends on."""

    def key(self, code: str) -> str:
        """Name of the task's file, given the digest of code and versions."""
        return digest_of({"task": type(self).__name__, **asdict(self), "code": code})[:32]

    @abstractmethod
    def measure(self, place: EvaluationHandle) -> Outcome:
        """Compute it.

        Args:
            place: where the data, the models and the defense are.

        Raises:
            NotApplicableError: it has no meaning for this release; the reason is shown to the user.
        """


@dataclass(frozen=True, kw_only=True)
class Cell(Task):
    """One adversary, one threat model, one arm, one seed.

    Args:
        adversary: registered name.
        settings: its options.
        level: threat level of this adversary.
        labels_per_class: granted labels, or None below L2.
        goal: name of the goal, which names the label under attack.
        arm: attack, ceiling, shuffled or undefended.
        seed: attack seed.
        doubled: fit with twice the training.
        world: digest of the world that is attacked.
    """

    adversary: str
    settings: dict[str, Any]
    level: str
    labels_per_class: int | str | None
    goal: str
    arm: str
    seed: int
    doubled: bool
    world: str

    def make_adversary(self) -> Adversary:
        """The adversary that the cell names, with its options.

        Raises:
            UserError: it does not have such an option, or not such a value.
            NotApplicableError: twice its training means nothing.
        """
        adversary = configured(ADVERSARIES.get(self.adversary), self.settings, self.adversary)
        if not self.doubled:
            return adversary
        doubled = adversary.doubled()
        if doubled is None:
            raise NotApplicableError("it does not train by gradient steps")
        return doubled

    def measure(self, place: EvaluationHandle) -> Outcome:
        """Fit the adversary and grade it."""
        goal = make_goal(self.goal)
        # The same draw in every arm: on the identity release attack and ceiling are one and the same.
        drawn_from = (self.adversary, sorted(self.settings.items()), self.labels_per_class, self.seed)
        graded = assess(
            self.make_adversary(),
            reordered(place.world(), self.seed),
            goal,
            ThreatModel(level=self.level, labels_per_class=self.labels_per_class),  # type: ignore[arg-type]
            arm="attack" if self.arm == "undefended" else self.arm,
            seed=derive_seed("shuffled", goal.label, self.seed),
            fit_seed=derive_seed("fit", *drawn_from),
        )
        return Outcome(
            status="measured",
            validation=graded.validation.numpy().astype(np.uint8),
            targets=graded.targets.numpy().astype(np.uint8),
            chance=graded.chance,
            flags=graded.flags,
            cost=graded.cost.model_dump(),
            arrays=self._by_class(graded),
        )

    def _by_class(self, graded: Graded) -> dict[str, np.ndarray[Any, Any]]:
        """Right and wrong about every class; kept at the largest number of labels, where they are asked for."""
        if graded.classes is None or self.labels_per_class not in (None, "all"):
            return {}
        names = ("classes.validation", "classes.targets")
        return {name: codes.numpy().astype(np.uint8) for name, codes in zip(names, graded.classes, strict=True)}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task.

    Args:
        status: measured, not_applicable or failed.
        reason: why it was not measured.
        validation, targets: right (1) or wrong (0) per row; empty unless measured.
        chance: rate of the best constant guess on this arm's targets.
        flags: health flags raised while fitting.
        cost: seconds, gradient steps, queries, peak bytes.
        arrays: what else was found, by name (reconstructions, scores).
    """

    status: str
    reason: str | None = None
    validation: np.ndarray[Any, np.dtype[np.uint8]] = field(default_factory=lambda: np.zeros(0, np.uint8))
    targets: np.ndarray[Any, np.dtype[np.uint8]] = field(default_factory=lambda: np.zeros(0, np.uint8))
    chance: float = 0.0
    flags: tuple[str, ...] = ()
    cost: dict[str, float] = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)

    @classmethod
    def empty(cls, status: str, reason: str) -> Outcome:
        """A task that gave no numbers."""
        return cls(status=status, reason=reason)


def save_outcome(outcome: Outcome, path: Path) -> None:
    """Write atomically; raises `UserError` when the disk does not take it."""
    meta = {name: getattr(outcome, name) for name in ("status", "reason", "chance", "flags", "cost")}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f"arrays.{name}": np.ascontiguousarray(values) for name, values in outcome.arrays.items()}
        save_file(
            {"validation": outcome.validation, "targets": outcome.targets, **arrays},
            temporary,
            metadata={"outcome": json.dumps(meta, allow_nan=False)},
        )
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error}", "free some space or choose another --out; finished cells are kept"
        ) from error


def load_outcome(path: Path) -> Outcome | None:
    """A finished task, or None when it is absent, unreadable, or failed (a failed one is tried again)."""
    try:
        with safe_open(path, "np") as file:
            meta = json.loads(file.metadata()["outcome"])
            rows = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        validation, targets = rows.pop("validation"), rows.pop("targets")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if meta["status"] == "failed":
        return None
    return Outcome(
        status=meta["status"],
        reason=meta["reason"],
        chance=meta["chance"],
        flags=tuple(meta["flags"]),
        cost=meta["cost"],
        validation=validation,
        targets=targets,
        arrays={name.removeprefix("arrays."): values for name, values in rows.items()},
    )
