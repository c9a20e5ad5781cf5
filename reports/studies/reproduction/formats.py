"""A published table and ours on a terminal, as Markdown and as JSON. Imports no torch."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

from reports.formats.tables import harmless, table
from reports.model.harmless import clean
from reports.model.numbers import figure
from reports.studies.reproduction.data import Reproduction, Row

SCHEMA = 1


def render_reproduction(made: Reproduction, console: Console) -> None:
    """Print the table and what is not as it was published.

    Args:
        made: the table.
        console: where to print.
    """
    console.print(harmless(f"{made.title} ({made.source})", console, "bold"))
    shown = table("", "here", "published", "target images")
    for row in made.rows:
        shown.add_row(*(harmless(cell, console) for cell in _cells(row)))
    console.print(shown)
    for sentence in _sentences(made):
        console.print(harmless(f"- {sentence}", console))


def markdown_reproduction(made: Reproduction) -> str:
    """The table with its commands, as a section of a Markdown document."""
    lines = [f"## {_plain(made.title)}", "", _plain(made.source), "", "| | here | published | target images |"]
    lines += ["|---|---|---|---|", *("| " + " | ".join(map(_plain, _cells(row))) + " |" for row in made.rows), ""]
    lines += [f"- {_plain(sentence)}" for sentence in _sentences(made)]
    lines += ["", "```", *made.commands, "```", ""]
    return "\n".join(lines)


def json_reproduction(made: Reproduction) -> str:
    """Everything as JSON; equal tables give equal text but for date and seconds."""
    rows = [{**row.wanted.model_dump(), "value": row.value.model_dump(mode="json")} for row in made.rows]
    about: dict[str, Any] = {
        name: getattr(made, name)
        for name in ("name", "title", "source", "scale", "needs", "seeds", "differs", "commands", "hardware", "date",
                     "seconds", "flagged")
    }  # fmt: skip
    return json.dumps({"schema": SCHEMA, **about, "rows": rows}, indent=1, allow_nan=False) + "\n"


def _cells(row: Row) -> tuple[str, str, str, str]:
    """A row's cells."""
    return row.wanted.what, figure(row.value, unit=True), row.wanted.published or "-", f"{row.value.n:,}"


def _sentences(made: Reproduction) -> list[str]:
    """What a reader must know beside the numbers."""
    seeds = ", ".join(map(str, made.seeds))
    many = "means, with the lowest and the highest bound" if len(made.seeds) > 1 else "with 95 % one-sided bounds"
    sentences = [f"Scale {made.scale} ({made.needs}); seeds {seeds}; numbers are {many}."]
    sentences += [f"Differs: {text}" for text in made.differs]
    sentences += [f"{what} carries {', '.join(flags)}." for what, flags in made.flagged.items()]
    sentences.append(f"Measured {made.date} on {made.hardware} in {made.seconds:,.0f} s.")
    return sentences


def _plain(text: str) -> str:
    """A text in Markdown, readable as it stands: nothing in it begins a tag or a cell."""
    return clean(text, plain=False).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
