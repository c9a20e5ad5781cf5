"""An entry of the leaderboard as its author writes it: one file of TOML, JSON, or a Python file with its defense.

A Python file says it in a literal called `ENTRY`, which is read without running the file. Imports no torch.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from adversaries.evidence import Record
from reports.model.report import DeclaredSecret
from vfc.config import read_toml
from vfc.errors import UserError

Status = Literal["claimed", "reproduced", "externally attacked", "unreliable", "withdrawn"]
SUFFIXES = (".toml", ".json", ".py")
LITERAL = "ENTRY"
"""Name of the literal in a Python file."""

_FORM = "see docs/suite.md for the form of an entry"


class Claim(Record):
    """What its authors say.

    `text`: in words. `gates`: limits as `METRIC OP NUMBER`, judged against the report, which must be about the same
    `dataset` and `task` (empty: whatever the data set's own is) and have the `settings` of the defense that are named.
    """

    text: str = ""
    dataset: str = ""
    task: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    gates: tuple[str, ...] = ()


class Measured(Record):
    """A report (a file or folder beside the entry), its digest, and numbers that it says."""

    report: str
    digest: str
    numbers: dict[str, float] = Field(default_factory=dict)


class External(Record):
    """An attack by somebody else: a grade of `vfc grade` (a file beside the entry), and its digest."""

    grade: str
    digest: str


class Entry(Record):
    """One defense on the leaderboard.

    `status` is what the entry calls itself; left out, it is what its files show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_max_length=2000)

    id: str = Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    name: str = ""
    defense: str
    paper: str = ""
    code: str = ""
    secret: DeclaredSecret = DeclaredSecret()
    claim: Claim = Claim()
    measured: Measured | None = None
    external: tuple[External, ...] = ()
    status: Status | None = None


def entry_files(folder: Path) -> Sequence[Path]:
    """The files of a folder that may be entries, by name.

    Raises:
        UserError: it is no folder, or holds none.
    """
    if not folder.is_dir():
        raise UserError(f"expected a folder of entries, got {folder}", "name the folder that holds them")
    found = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and path.is_file() and _says(path)]
    if not found:
        raise UserError(f"expected entries ({', '.join(SUFFIXES)}) in {folder}, got none", _FORM)
    return found


def read_entry(file: Path) -> Entry:
    """Read one entry.

    Raises:
        UserError: it cannot be read, or is none.
    """
    try:
        content = _content(file)
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}", "check the file") from None
    except (ValueError, SyntaxError, RecursionError) as error:
        raise UserError(f"expected an entry in {file}, got {error}", _FORM) from None
    try:
        return Entry.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the entry"
        raise UserError(f"expected an entry in {file}, got {where}: {first['msg']}", _FORM) from None


def _says(file: Path) -> bool:
    """Whether a file means to be an entry: a Python file does by its literal, any other by its suffix."""
    return file.suffix != ".py" or LITERAL.encode() in file.read_bytes()


def _content(file: Path) -> Any:
    if file.suffix == ".toml":
        return read_toml(file)[1]
    if file.suffix == ".json":
        return json.loads(file.read_bytes())
    for node in ast.parse(file.read_bytes()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        named = any(isinstance(target, ast.Name) and target.id == LITERAL for target in targets)
        if named and isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            return ast.literal_eval(node.value)
    raise ValueError(f"no literal {LITERAL}")
