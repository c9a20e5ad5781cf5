"""Which point of a sweep its defender would choose, from the defender's own images alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from protocols.engine.prepared import Prepared
from reports.studies.bench.data import Entry
from vfc.artifact import save_json

FILE = "tuning.json"
KEEPS = 0.95
"""Share of the sweep's best task accuracy that a point must keep."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How one point does on the defender's validation part.

    Args:
        accuracy: of the intended use on the releases.
        read: mean accuracy of a linear reader of what is to be hidden, fitted on the defender's training part.
    """

    accuracy: float
    read: float


def measured(prepared: Prepared, hidden: Sequence[str]) -> Tuning | None:
    """Measure one point; neither the attacker's pool nor a target is looked at.

    Args:
        prepared: the fitted defense and who owns which images.
        hidden: labels that the release should not tell; without any, the task label itself.

    Returns:
        None for a release without a defense to ask, or without an intended use.
    """
    publisher, parts = prepared.publisher, prepared.parts
    if publisher is None:
        return None
    train = publisher.publish(parts.defender_train.images, "defender-train")
    held = publisher.publish(parts.defender_validation.images, "defender")
    guess = publisher.predicted(held)
    if guess is None:
        return None
    rates = []
    for name in hidden or (parts.task,):
        read = ridge(train, parts.defender_train.labels[name], held, prepared.dataset.classes[name])
        rates.append(float((read == parts.defender_validation.labels[name]).double().mean()))
    accuracy = float((guess == parts.defender_validation.labels[parts.task]).double().mean())
    return Tuning(accuracy=accuracy, read=sum(rates) / len(rates))


def ridge(
    train: Shaped[Tensor, "n ..."], labels: Int[Tensor, " n"], held: Shaped[Tensor, "m ..."], classes: int
) -> Int[Tensor, " m"]:
    """Classes that ridge regression on one-hot labels reads from releases; features are standardized.

    Args:
        train, labels: what it is fitted on.
        held: what it reads.
        classes: how many there are.
    """
    rows = train.flatten(1).double().nan_to_num(posinf=0, neginf=0)
    others = held.flatten(1).double().nan_to_num(posinf=0, neginf=0)
    center, scale = rows.mean(0), rows.std(0).clamp_min(1e-9)
    # Constant features would be blown up by their scale.
    moves = rows.std(0) > 1e-9
    rows, others = (((each - center) / scale)[:, moves] for each in (rows, others))
    width = max(1, rows.shape[1])
    targets = torch.nn.functional.one_hot(labels, classes).double()
    centered = targets - targets.mean(0)
    # Both forms have one solution; the smaller matrix is solved.
    if len(rows) > rows.shape[1]:
        gram = rows.T @ rows / width + torch.eye(rows.shape[1], dtype=torch.float64)
        scores: Tensor = others @ torch.linalg.solve(gram, rows.T @ centered / width)
    else:
        kernel = rows @ rows.T / width + torch.eye(len(rows), dtype=torch.float64)
        scores = others @ rows.T / width @ torch.linalg.solve(kernel, centered)
    return (scores + targets.mean(0)).argmax(1)


def keep(prepared: Prepared, folder: Path, *, hidden: Sequence[str]) -> None:
    """Measure one point and write it into the folder of its row."""
    found = measured(prepared, hidden)
    save_json(None if found is None else asdict(found), folder / FILE)


def with_choice(entries: Sequence[Entry], out: Path) -> list[Entry]:
    """The entries, with the point marked that the defender of each sweep would choose.

    Of the points that keep enough of the sweep's best task accuracy it is the one that is read least, the first of
    several; points that failed, or that nobody measured, are not chosen.
    """
    found = {entry.folder: _read(out / entry.folder / FILE) for entry in entries if entry.point and entry.report}
    chosen = set()
    for defense in {entry.defense for entry in entries if found.get(entry.folder) is not None}:
        own = [
            (entry.folder, tuning) for entry in entries
            if entry.defense == defense and (tuning := found.get(entry.folder)) is not None
        ]  # fmt: skip
        best = max(tuning.accuracy for _, tuning in own)
        kept = [(tuning.read, folder) for folder, tuning in own if tuning.accuracy >= KEEPS * best]
        chosen.add(min(kept, key=lambda each: each[0])[1])
    return [replace(entry, chosen=entry.folder in chosen) for entry in entries]


def _read(file: Path) -> Tuning | None:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return Tuning(**content) if isinstance(content, dict) else None
