"""States of a network on the way through its training: which steps are kept, and the files that hold them.

A folder `checkpoints` has a file `<part>-<step>.safetensors` for every kept step of a part (`target`, `encoder`), and
`<part>.json`, which says what they are. Step 0 is the fresh network, step s the one after s optimizer steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vfc.artifact import contents, load_arrays, load_json, save_arrays, save_json
from vfc.errors import UserError

FOLDER = "checkpoints"
"""Where a run folder keeps them."""

FEWEST = 3
"""A fall and a rise need a beginning, a middle and an end."""

SCHEMA = 1


def schedule(steps: int, count: int) -> tuple[int, ...]:
    """Steps to keep: 0, the last one, and between them the nearest to a geometric row; all if there are fewer.

    Args:
        steps: optimizer steps in all, at least 1.
        count: how many to keep, at least 2.

    Raises:
        UserError: no steps, or too few to keep.
    """
    if steps < 1 or count < 2:
        raise UserError(
            f"expected training of 1 or more steps and 2 or more states to keep, got {steps} and {count}",
            "train longer, or keep more",
        )
    count = min(count, steps + 1)
    inner = count - 2
    kept = [0]
    for position in range(inner):
        wanted = round(steps ** (position / max(1, inner)))
        # Near the beginning a geometric row repeats itself; near the end the last ones need their room.
        kept.append(min(max(wanted, kept[-1] + 1), steps - (inner - position)))
    return (*kept, steps)


class Keeper:
    """Copies the states of one network at the steps of its schedule.

    Args:
        count: how many to keep.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.states: dict[int, dict[str, Tensor]] = {}

    def keep(self, network: nn.Module, done: int, steps: int) -> None:
        """Copy the network's state if this step is one to keep.

        Args:
            network: as it is now; not changed.
            done: optimizer steps so far.
            steps: in all.
        """
        if done in schedule(steps, self.count):
            state = network.state_dict()
            self.states[done] = {name: value.detach().cpu().clone() for name, value in state.items()}

    def save(self, folder: Path, part: str, about: Mapping[str, Any], *, extra: Mapping[str, Tensor]) -> None:
        """Write what was kept.

        Args:
            folder: takes the files.
            part: what it is, `target` or `encoder`.
            about: what else a reader must know: architecture, training, seed, members.
            extra: tensors that every state also holds.
        """
        steps = sorted(self.states)
        for step in steps:
            state = {name: _wide(value) for name, value in self.states[step].items()}
            save_arrays({**state, **extra}, folder / _file(part, step))
        save_json({"schema": SCHEMA, "part": part, "steps": steps, **about}, folder / f"{part}.json")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The kept states of one part.

    Args:
        folder: that holds them.
        part: `target` or `encoder`.
        steps: rising, from 0.
        about: what was written beside them.
        digests: SHA-256 of the file of every step.
    """

    folder: Path
    part: str
    steps: tuple[int, ...]
    about: Mapping[str, Any]
    digests: tuple[str, ...]

    def state(self, step: int) -> dict[str, Tensor]:
        """The tensors of one step; raises `UserError` when the file is missing or damaged."""
        return load_arrays(self.folder / _file(self.part, step))


def kept(folder: Path, part: str) -> Kept:
    """What a folder keeps of a part.

    Raises:
        UserError: there is nothing, or too little to be a course, or it is damaged.
    """
    fix = "train again with vfc train --checkpoints 12"
    try:
        files = contents(folder)
    except UserError as error:
        raise UserError(f"expected checkpoints in {folder}, got no such folder", fix) from error
    if f"{part}.json" not in files:
        there = ", ".join(sorted(name.removesuffix(".json") for name in files if name.endswith(".json"))) or "nothing"
        raise UserError(f"expected checkpoints of the {part} in {folder}, got those of {there}", fix)
    about = load_json(folder / f"{part}.json")
    steps = tuple(int(step) for step in about["steps"])
    if len(steps) < FEWEST:
        raise UserError(f"expected {FEWEST} or more checkpoints in {folder}, got {len(steps)}", fix)
    missing = [_file(part, step) for step in steps if _file(part, step) not in files]
    if missing:
        raise UserError(f"expected {missing[0]} in {folder}, got a folder without it", fix)
    digests = tuple(str(files[_file(part, step)]["sha256"]) for step in steps)
    return Kept(folder=folder, part=part, steps=steps, about=about, digests=digests)


def copy_checkpoints(source: Path, target: Path) -> None:
    """Copy all checkpoints of a folder into another one, which may hold those of other parts."""
    for name, entry in sorted(contents(source).items()):
        if entry["kind"] == "json":
            save_json(load_json(source / name), target / name)
        else:
            save_arrays(load_arrays(source / name), target / name)


def _file(part: str, step: int) -> str:
    return f"{part}-{step:08d}.safetensors"


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() and value.dtype != torch.float64 else value
