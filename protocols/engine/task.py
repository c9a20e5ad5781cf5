"""Units of work, each saved the moment it ends.

A task's file is named by a digest of everything that its result depends on: the adversary and its settings, the data,
the release, the code and the versions of what computes. A run that starts again finds the finished ones. A file holds a
digest of its name and of its content: one that was damaged, or that belongs to another task, is not taken for a result.
"""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adversaries.evidence import Status
from protocols.engine.handles import EvaluationHandle
from protocols.engine.settings import digest_of
from reports.model.files import arrays_digest
from vfc.errors import UserError

Rows = np.ndarray[Any, np.dtype[Any]]
"""Numbers, one per image: right (1) or wrong (0), or what else was measured."""

Arrays = Mapping[str, Rows]


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One unit of work. Its fields are JSON-ready data and, with the code, all that its result depends on."""

    def key(self, code: str) -> str:
        """Name of the task's file, given the digest of code and versions."""
        return digest_of({"task": type(self).__name__, **asdict(self), "code": code})[:32]

    @abstractmethod
    def measure(self, handle: EvaluationHandle) -> Outcome:
        """Compute it.

        Args:
            handle: where the data, the models and the defense are.

        Raises:
            NotApplicableError: it has no meaning for this release; the reason is shown to the user.
        """


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a task.

    Args:
        status: measured, not_applicable or failed.
        reason: why it was not measured.
        arrays: what was found, by name; `targets` and `validation` for rows that are right or wrong about a label.
        flags: health flags raised while fitting.
        cost: seconds, gradient steps, queries, peak bytes.
    """

    status: Status
    reason: str | None = None
    arrays: Arrays = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    cost: dict[str, float] = field(default_factory=dict)

    @classmethod
    def empty(cls, status: Status, reason: str) -> Outcome:
        """A task that gave no numbers."""
        return cls(status=status, reason=reason)

    @property
    def targets(self) -> Rows:
        """Right or wrong per target image."""
        return self.arrays["targets"]

    @property
    def validation(self) -> Rows:
        """Right or wrong per image of the attacker's validation part."""
        return self.arrays["validation"]


EXPOSED = "exposed"
"""The array of an outcome, after the part's name, that says which rows the attack picked out and named right."""

AGREEMENT = "targets.agreement"
"""The array of an outcome that holds how often its guesses would be right by chance."""

TURNED = "targets.turned"
"""The array of an outcome that says which targets are right if every guess stands for what it most often comes with."""


def label_arrays(validation: Rows, targets: Rows, chance: float) -> dict[str, Rows]:
    """The arrays of an outcome that is right or wrong about a label.

    Args:
        validation, targets: right or wrong per row.
        chance: rate of the best constant guess on this arm's targets.
    """
    rows = {"validation": validation.astype(np.uint8), "targets": targets.astype(np.uint8)}
    return {**rows, "targets.chance": np.array([chance])}


def save_outcome(outcome: Outcome, path: Path) -> None:
    """Write atomically; raises `UserError` when the disk does not take it."""
    meta = {name: getattr(outcome, name) for name in ("status", "reason", "flags", "cost")}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # At least one dimension, as the file has it.
        arrays = {name: np.ascontiguousarray(values) for name, values in outcome.arrays.items()}
        text = json.dumps(meta, allow_nan=False)
        about = {"outcome": text, "sha256": arrays_digest(arrays, path.stem, text)}
        save_file(arrays, temporary, metadata=about)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error}", "free some space or choose another --out; finished cells are kept"
        ) from error


def load_outcome(path: Path, damaged: Callable[[Path], None] = lambda _: None) -> Outcome | None:
    """A finished task, or None when it is absent, damaged, or failed (a failed one is tried again).

    Args:
        path: its file.
        damaged: is told of a file that is there and is not what was once written under this name.
    """
    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        text = about["outcome"]
        if about["sha256"] != arrays_digest(arrays, path.stem, text):
            raise ValueError("the digest is another")
        meta = json.loads(text)
        outcome = Outcome(
            status=meta["status"],
            reason=meta["reason"],
            flags=tuple(meta["flags"]),
            cost=meta["cost"],
            arrays=arrays,
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        if path.exists():
            damaged(path)
        return None
    return None if outcome.status == "failed" else outcome
