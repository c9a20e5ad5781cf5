"""The options of `vfc cache prune`."""

from __future__ import annotations

import rich_click as click

PRUNE = (
    click.option("--size", help="Keep at most so much, as 500MB or 20GB."),
    click.option("--age", help="Remove what was not used for so long, as 12h, 30d or 8w."),
    click.option("--all", "everything", is_flag=True, help="Remove everything."),
    click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing."),
)
