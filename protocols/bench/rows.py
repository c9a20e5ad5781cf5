"""The folder of a bench, for who takes it for a report. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from reports.model.files import REPORT
from vfc.errors import UserError

FILE = "bench.json"
"""What a bench keeps of its rows, in its own folder."""


def refuse_bench(path: str | Path) -> None:
    """Say of a bench that it is one, and where the reports of its rows are.

    Args:
        path: where a report is asked for.

    Raises:
        UserError: a bench is there, and no report.
    """
    folder = Path(path).parent if Path(path).name == FILE else Path(path)
    if not (folder / FILE).is_file() or (folder / REPORT).is_file():
        return
    rows = sorted(file.parent.name for file in folder.glob(f"*/{REPORT}"))
    where = (
        f"{folder / rows[0]}, for instance (rows: {', '.join(rows)})" if rows else "another one: no row was measured"
    )
    raise UserError(
        f"expected a report, got the bench {folder}", f"name the report of a row: {where}; the table is in bench.csv"
    )
