"""One unit of work: one adversary, one threat model, one arm, one seed. Saved the moment it ends.

A cell's file is named by a digest of everything that its result depends on: the adversary and its settings, the data,
the release, the code and the versions of what computes. A run that starts again finds the finished ones.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from protocols.settings import digest_of
from vfc.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What to compute.

    Args:
        adversary: registered name.
        settings: its options.
        level: threat level of this adversary.
        labels_per_class: granted labels, or None below L2.
        label: the label under attack.
        arm: attack, ceiling, shuffled or undefended.
        seed: attack seed.
        doubled: fit with twice the training.
        world: digest of the world that is attacked.
    """

    adversary: str
    settings: dict[str, Any]
    level: str
    labels_per_class: int | str | None
    label: str
    arm: str
    seed: int
    doubled: bool
    world: str

    def key(self, code: str) -> str:
        """Name of the cell's file, given the digest of code and versions."""
        return digest_of({**asdict(self), "code": code})[:32]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell.

    Args:
        status: measured, not_applicable or failed.
        reason: why it was not measured.
        validation, targets: right (1) or wrong (0) per row; empty unless measured.
        chance: rate of the best constant guess on this arm's targets.
        flags: health flags raised while fitting.
        cost: seconds, gradient steps, queries, peak bytes.
    """

    status: str
    reason: str | None = None
    validation: np.ndarray[Any, np.dtype[np.uint8]]
    targets: np.ndarray[Any, np.dtype[np.uint8]]
    chance: float = 0.0
    flags: tuple[str, ...] = ()
    cost: dict[str, float]

    @classmethod
    def empty(cls, status: str, reason: str) -> Outcome:
        """A cell that gave no numbers."""
        none = np.zeros(0, np.uint8)
        return cls(status=status, reason=reason, validation=none, targets=none, cost={})


def save_outcome(outcome: Outcome, path: Path) -> None:
    """Write atomically; raises `UserError` when the disk does not take it."""
    meta = {name: getattr(outcome, name) for name in ("status", "reason", "chance", "flags", "cost")}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {"validation": outcome.validation, "targets": outcome.targets},
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
    """A finished cell, or None when it is absent, unreadable, or failed (a failed cell is tried again)."""
    try:
        with safe_open(path, "np") as file:
            meta = json.loads(file.metadata()["outcome"])
            rows = {name: file.get_tensor(name) for name in ("validation", "targets")}
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
        **rows,
    )
