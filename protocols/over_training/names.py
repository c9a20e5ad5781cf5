"""Which step a checkpoint is of, by the name of its file. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vfc.errors import UserError

_WORDS = tuple(re.compile(rf"{word}[-_= ]*(\d+)", re.IGNORECASE) for word in ("steps?", "iter(?:ation)?s?", "epochs?"))
"""From the finest to the coarsest."""

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RENAME = "rename them: net-step100.pt"


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
    for word in _WORDS:
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
