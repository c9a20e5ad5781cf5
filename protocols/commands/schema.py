"""`vfc schema`: the JSON Schema of report.json. Imports no torch."""

from __future__ import annotations

import sys

from protocols.commands.output import printing
from reports.model.schema import render_schema


def run_schema() -> int:
    """Print the schema and return 0."""
    with printing():
        sys.stdout.write(render_schema())
    return 0
