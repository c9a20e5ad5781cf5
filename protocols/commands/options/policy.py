"""The policy of the config file that counts: whatever is wrong with it is said with the file's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from protocols.engine.settings import config_file
from reports.gate.policy import Policy, read_policy
from reports.gate.presets import PRESETS
from reports.model.report import Source
from vfc.config import read_toml, tool_table
from vfc.errors import UserError


@contextmanager
def said_in(path: str | None) -> Iterator[None]:
    """Inside, mistakes are those of the config file.

    Args:
        path: the file that the user named; None for the one of the current folder.

    Raises:
        UserError: what was raised, with the file's name if it was not there yet.
    """
    try:
        yield
    except UserError as error:
        file = config_file(path)
        where = "" if file is None or str(file) in error.what else f" (in {file})"
        named = [name for name in PRESETS if f"got {name!r}" in error.what]
        fix = f'write preset = "{named[0]}" under [policy]' if named else error.fix
        raise UserError(error.what + where, fix) from error


def policy_of(path: str | None, preset: str | None = None) -> Policy:
    """The policy of the config file; gates that the file has as an option know their lines.

    Args:
        path: the file that the user named; None looks into the current folder.
        preset: overrides the file's.

    Raises:
        UserError: unreadable, no TOML, or a policy that says something meaningless.
    """
    with said_in(path):
        policy = read_policy(path, preset)
        file = config_file(path)
        if file is None:
            return policy
        text, table = read_toml(file)
        data = (tool_table(table, file) if file.name == "pyproject.toml" else table) or {}
    listed = data.get("gates", [])
    return replace(policy, anchors=(*policy.anchors, *_lines(listed if isinstance(listed, list) else [], text, file)))


def _lines(texts: Sequence[object], content: str, file: Path) -> Iterator[tuple[str, Source]]:
    """The first line that holds each text."""
    whole, here = file.absolute(), Path.cwd()
    name = whole.relative_to(here).as_posix() if whole.is_relative_to(here) else file.name
    for text in map(str, texts):
        line = next((number for number, row in enumerate(content.splitlines(), 1) if text in row), 1)
        yield text, Source(file=name, line=line)
