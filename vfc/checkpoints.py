"""States of a network on the way through its training: which steps are kept, and the files that hold them.

A folder `checkpoints` has a file `<part>-<step>.safetensors` for every kept step of a part (`target`, `encoder`), and
`<part>.json`, which says what they are. Step 0 is the fresh network, step s the one after s optimizer steps. A user's
own files are state dicts with the step in their names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from vfc.artifact import contents, load_arrays, load_json, save_arrays, save_json
from vfc.errors import UserError

FOLDER = "checkpoints"
"""Where a run folder keeps them."""

FEWEST = 3
"""A fall and a rise need a beginning, a middle and an end."""

SCHEMA = 1

SUFFIXES = (".pt", ".pth", ".safetensors")
"""Files of state dicts that a user may bring."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_STEPS = ("steps?", "iter(?:ation)?s?", "epochs?")
_STEP_WORDS = tuple(re.compile(rf"{word}[-_= ]*(\d+)", re.IGNORECASE) for word in _STEPS)
"""From the finest to the coarsest."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RENAME = "rename them: net-step100.pt"


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


def numbered_by(files: Sequence[Path]) -> dict[int, Path]:
    """Files by their steps.

    A step is the number behind `step`, `iter`, `iteration` or `epoch` (or their plurals) where every name has that,
    else the only number that is not the same in all names.

    Args:
        files: at least one.

    Raises:
        UserError: a name without a number, several numbers that could be the step, or two files of one step.
    """
    for file in files:
        if not _NUMBER.search(file.stem):
            raise UserError(f"expected the step as a number in the name of {file}, got none", _RENAME)
    numbered: dict[int, Path] = {}
    for file, step in zip(files, _told(files) or _varying(files), strict=True):
        if step in numbered:
            raise UserError(f"expected different steps, got {numbered[step]} and {file} of step {step}", _RENAME)
        numbered[step] = file
    return numbered


def _told(files: Sequence[Path]) -> list[int] | None:
    """The numbers behind the finest word that tells files apart; None if no word is in every name."""
    columns = []
    without: list[Path] = []
    for word in _STEP_WORDS:
        found = [word.search(file.stem) for file in files]
        if all(found):
            columns.append([int(match.group(1)) for match in found if match is not None])
        elif any(found):
            without += [file for file, match in zip(files, found, strict=True) if match is None]
    if without and not columns:
        raise UserError(f"expected a step in every name, as some have it, got {without[0]}", _RENAME)
    varying = [column for column in columns if len(set(column)) > 1]
    if not varying:
        return columns[0] if columns else None
    # Steps that begin anew with every epoch are no order.
    for coarser in varying[1:]:
        ordered = [epoch for _, epoch in sorted(zip(varying[0], coarser, strict=True))]
        if ordered != sorted(ordered):
            raise UserError(
                f"expected steps and epochs in one order, got {files[0]} to {files[-1]}, where steps begin anew",
                _RENAME,
            )
    return varying[0]


def _varying(files: Sequence[Path]) -> list[int]:
    """The only number that is not the same in all names."""
    numbers = [_NUMBER.findall(file.stem) for file in files]
    columns = list(zip(*numbers, strict=False))
    varying = [column for column in columns if len({float(number) for number in column}) > 1]
    if len({len(row) for row in numbers}) > 1 or len(varying) > 1:
        raise UserError(
            f"expected one varying number in the names, or a number behind step, epoch or iteration, got several in "
            f"{files[0].name} to {files[-1].name}",
            _RENAME,
        )
    chosen = varying[0] if varying else columns[0]
    if any("." in number for number in chosen):
        raise UserError(
            f"expected the step as a whole number in the names, got {chosen[0]} in {files[0].name}", _RENAME
        )
    return [int(number) for number in chosen]


def read_state(file: Path) -> dict[str, Tensor]:
    """A state dict; nothing but tensors and plain containers is unpickled.

    Raises:
        UserError: the file is something else.
    """
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of files, of safetensors and of pickle: whichever, the file is no state dict
        said = " ".join(str(error).split())[:200]
        raise UserError(f"expected a state dict of tensors in {file}, got {type(error).__name__}: {said}",
                        "save model.state_dict() with torch.save or safetensors") from error  # fmt: skip
    for name in _WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"expected a state dict in {file}, got {type(found).__name__}", "save model.state_dict()")
    odd = [name for name in found if not isinstance(name, str)]
    if odd:
        raise UserError(
            f"expected names of parameters as keys of the state dict in {file}, got {odd[0]!r}",
            "save model.state_dict()",
        )
    return found


def load_state(module: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Give a module a state; raises `UserError` with where it came from when it is another module's."""
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"expected a state of {type(module).__name__} in {where}, got another: {said}",
                        "save model.state_dict() of the same architecture") from error  # fmt: skip


def _file(part: str, step: int) -> str:
    return f"{part}-{step:08d}.safetensors"


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() and value.dtype != torch.float64 else value
