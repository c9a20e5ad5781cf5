"""Conducts a bench: one row after the other, each kept the moment it is graded; what is finished is read back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols.bench.grading import reason_of
from protocols.bench.plan import Planned
from protocols.bench.rows import FILE
from protocols.engine.progress import Reporter
from reports.model.report import Report
from reports.model.storage import load
from reports.studies.bench.data import Entry
from vfc.artifact import save_json
from vfc.errors import NotApplicableError, UserError

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Study:
    """A bench under way.

    Args:
        rows: what is graded.
        out: the bench's folder; rows have folders of their own in it.
        code: digest of code and versions: what other code has graded is graded again.
        grade: grades a row and writes its report.
        reporter: who tells.
        needs: files of a row's folder without which it is not finished, besides its report.
    """

    rows: Sequence[Planned]
    out: Path
    code: str
    grade: Callable[[Planned], Report]
    reporter: Reporter
    needs: Sequence[str] = ()

    def conduct(self) -> list[Entry]:
        """Every row, measured or with the reason why not; what was not measured is tried again by the next run."""
        known = self._known()
        entries = []
        for place, row in enumerate(self.rows, 1):
            title = f"[{place}/{len(self.rows)}] {row.name}"
            if (report := self._finished(row, known.get(row.folder))) is not None:
                self.reporter.note(f"{title}: read back")
                entries.append(self._entry(row, report=report))
                continue
            started = time.monotonic()
            self.reporter.note(title)
            entry = self._graded(row)
            what = f"{status_of(entry)}: {entry.reason}" if entry.report is None else entry.report.verdict
            self.reporter.note(f"{title}: {what} after {time.monotonic() - started:.0f} s")
            entries.append(entry)
            known[row.folder] = self._record(row, entry)
            save_json({"schema": SCHEMA, "rows": known}, self.out / FILE)
        return entries

    def _graded(self, row: Planned) -> Entry:
        """Grade a row; whatever it raises is the row's failure and nobody else's."""
        try:
            return self._entry(row, report=self.grade(row))
        except NotApplicableError as why:
            return self._entry(row, reason=" ".join(str(why).split()), applicable=False)
        except (Exception, SystemExit) as error:
            failure = error if isinstance(error, Exception) else RuntimeError("it asked for the end of the program")
            return self._entry(row, reason=reason_of(failure))

    def _entry(self, row: Planned, *, report: Report | None = None, reason: str = "", applicable: bool = True) -> Entry:
        return Entry(
            name=row.name,
            defense=row.spec.name,
            folder=row.folder,
            report=report,
            reason=reason,
            applicable=applicable,
            point=row.point,
        )

    def _record(self, row: Planned, entry: Entry) -> dict[str, Any]:
        """What is kept of a row."""
        return {
            "name": row.name,
            "defense": row.spec.name,
            "point": dict(row.point),
            "status": status_of(entry),
            "reason": entry.reason,
            "settings": row.settings.digest(),
            "code": self.code,
            "report": "" if entry.report is None else entry.report.digest,
        }

    def _known(self) -> dict[str, Any]:
        """What earlier runs kept here, by folder; nothing of a file that cannot be read."""
        try:
            rows = json.loads((self.out / FILE).read_bytes())["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return {str(name): row for name, row in rows.items()} if isinstance(rows, dict) else {}

    def _finished(self, row: Planned, kept: Any) -> Report | None:
        """The report of a row that the same code graded with the same settings; None if there is none."""
        same = {"settings": row.settings.digest(), "code": self.code}
        if not isinstance(kept, dict) or any(kept.get(name) != value for name, value in same.items()):
            return None
        if not kept.get("report") or not all((self.out / row.folder / file).is_file() for file in self.needs):
            return None
        try:
            report = load(self.out / row.folder)
        except UserError:
            return None
        return report if report.digest == kept["report"] else None


def status_of(entry: Entry) -> str:
    """How a row ended, in words."""
    if entry.report is not None:
        return entry.report.verdict
    return "failed" if entry.applicable else "not applicable"
