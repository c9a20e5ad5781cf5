"""The command that makes a report again, quoted so that it can be pasted."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from rich.cells import cell_len

from reports.model.harmless import escape, prints
from reports.model.report import Report

_CALL = re.compile(r"vfc\.\w+\([\w .,:='()-]*\)")
"""A call from Python as `protocols.api` records it."""


def command_words(report: Report) -> list[str]:
    """The command that makes the report again, as arguments; empty if the report does not tell.

    Built from the options that were passed, because those also hold what came from the environment or a config file.
    """
    argv, passed = report.command.argv, report.command.settings.passed
    if len(argv) == 1 and _CALL.fullmatch(argv[0]):
        return [argv[0]]
    program = PurePath(argv[0]).name if argv else "vfc"
    program = "vfc" if program in ("cli.py", "__main__.py") else program
    if not passed or program not in ("vfc", "vfc-attack"):
        return [program, *argv[1:]] if argv else []
    words = [program]
    if program == "vfc":
        words.append(argv[1] if len(argv) > 1 and not argv[1].startswith("-") else "attack")
    for name, value in passed.items():
        words += _option(name, value)
    return words


def quoted(word: str, *, plain: bool = False) -> str:
    """A word as bash and zsh read it back, on one line and without control characters."""
    if all(prints(character, plain) for character in word):
        return word if _CALL.fullmatch(word) else shlex.quote(word)
    inner = "".join("\\" + c if c in "\\'" else c if prints(c, plain) else escape(c) for c in word)
    return f"$'{inner}'"


def command_lines(words: Sequence[str], width: int, *, plain: bool = False) -> list[str]:
    """The command quoted and continued over lines of at most `width` cells, ready to be pasted."""
    room = max(8, width - 6)
    lines: list[str] = []
    for word in words:
        pieces = _pieces(word, room, plain)
        first = pieces[0]
        if lines and len(pieces) == 1 and cell_len(lines[-1]) + 1 + cell_len(first) <= room:
            lines[-1] += f" {first}"
        else:
            if lines:
                lines[-1] += " \\"
            lines.append(f"    {first}" if lines else first)
        # A word longer than a line goes on at the start of the next: a space would end it.
        for piece in pieces[1:]:
            lines[-1] += "\\"
            lines.append(piece)
    return lines


def _pieces(word: str, room: int, plain: bool) -> list[str]:
    """A word in quoted pieces of at most `room` cells each."""
    if cell_len(quoted(word, plain=plain)) <= room:
        return [quoted(word, plain=plain)]
    pieces, start = [], 0
    while start < len(word):
        end = min(len(word), start + room)
        while end > start + 1 and cell_len(quoted(word[start:end], plain=plain)) > room:
            end -= 1
        pieces.append(quoted(word[start:end], plain=plain))
        start = end
    return pieces


def _option(name: str, value: Any) -> list[str]:
    flag = "--" + {"overrides": "set", "preset": "gates"}.get(name, name).replace("_", "-")
    if value is None:
        return []
    if name == "quiet":
        return ["--quiet" if value else "--verbose"]
    if name == "resume":
        return ["--resume" if value else "--fresh"]
    if isinstance(value, bool):
        return [flag] if value else []
    words = []
    for item in value if isinstance(value, (list, tuple)) else [value]:
        text = f"{item:g}" if isinstance(item, float) and math.isfinite(item) else str(item)
        words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return words
