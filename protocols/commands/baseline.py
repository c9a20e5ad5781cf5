"""`vfc baseline accept`: the ratchet. Imports no torch."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path

from protocols.commands.output import printing
from reports.gate.baseline import accept
from reports.model.harmless import clean


def run_accept(path: str, reason: str, folder: str, today: date | None = None) -> int:
    """Make a report the baseline and return 0.

    Args:
        path: report.json, or the folder that holds it.
        reason: why, for the history.
        folder: the baseline; meant to be committed.
        today: the day that the history names; None is the present day (UTC).

    Raises:
        UserError: no reason, or a report or history that cannot be used.
    """
    changed = accept(path, Path(folder), reason, today or datetime.now(UTC).date())
    with printing():
        sys.stdout.write(f"accepted {clean(path)} as the baseline in {clean(folder)}: {clean(reason)}\n")
        for line in changed:
            sys.stdout.write(f"  {clean(line)}\n")
    return 0
