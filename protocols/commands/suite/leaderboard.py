"""`vfc leaderboard`: entries checked against their files, as a table and a page. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from protocols.commands.output import printing
from reports.gate.condition import check_accepted
from reports.model.files import write_all
from reports.studies.leaderboard.board import read_board


def run_leaderboard(folder: str, files: Mapping[str, str], accept: Sequence[str] = ()) -> int:
    """Check every entry, write the formats asked for, show the table, and return 0.

    Args:
        folder: holds the entries.
        files: file by format: html, json.
        accept: kinds of declared secrets that the board's owner accepts.

    Raises:
        UserError: such a secret excuses nothing, an entry says what its files do not, or a file cannot be written.
    """
    from rich.console import Console

    from reports.studies.leaderboard.page import board_json, render_board, render_board_html

    lines = read_board(Path(folder), check_accepted(accept))
    texts = {"html": render_board_html, "json": board_json}
    write_all({Path(file): texts[form](lines).encode() for form, file in files.items()})
    with printing():
        render_board(lines, Console(highlight=False))
    return 0
