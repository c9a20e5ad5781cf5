"""A report with its arrays as a program holds it: facts as attributes, formats as methods. Imports no torch."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adversaries.evidence import Evidence, Value
from reports.gate.verdict import exit_code
from reports.model.files import REPORT, SIDECAR, write_all
from reports.model.report import GateResult, Report, Verdict
from reports.model.storage import load, load_rows, write
from reports.studies.bench.data import Bench, Row


@dataclass(frozen=True, kw_only=True, repr=False)
class OpenedReport:
    """What one attack found out. In a notebook it shows itself; `print` shows it as a terminal would.

    Example:
        ```python
        report = vfc.load_report("runs/attacked")
        report.to_html("report.html")
        bounds = {name: (value.low, value.high) for name, value in report.metrics.items()}
        ```

    Args:
        report: everything that `report.json` holds.
        rows: numpy arrays of `report.safetensors` by key; without them pages have no pictures.
    """

    report: Report
    rows: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """`held`, `broken`, `inconclusive`, or `measured` where no gate was asked for."""
        return self.report.verdict

    @property
    def exit_code(self) -> int:
        """What `vfc attack` would exit with: 0 held or measured, 1 broken, 3 inconclusive."""
        return exit_code(self.report.verdict, self.report.status)

    @property
    def metrics(self) -> dict[str, Value]:
        """Every number by its name in `vfc list metrics`, with its interval: `.value`, `.low`, `.high`."""
        return self.report.metrics

    @property
    def gates(self) -> tuple[GateResult, ...]:
        """Every gate with its `outcome` and `reason`."""
        return self.report.gates

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """One row for each attack that was tried, with all its controls."""
        return self.report.evidence

    @property
    def summary(self) -> str:
        """What use is left and what attackers reach, in plain sentences."""
        from reports.model.attempt_index import AttemptIndex
        from reports.text.headline import plain_verdict

        return plain_verdict(AttemptIndex(self.report))

    def to_html(self, path: str | Path) -> Path:
        """Write one page without scripts; raises `UserError` if it cannot be written."""
        from reports.formats.html import render_html

        return _written(path, render_html(self.report, self.rows))

    def to_markdown(self, path: str | Path) -> Path:
        """Write a summary for pull requests; raises `UserError` if it cannot be written."""
        from reports.formats.markdown import render_markdown

        return _written(path, render_markdown(self.report))

    def to_junit(self, path: str | Path) -> Path:
        """Write JUnit XML; raises `UserError` if it cannot be written."""
        from reports.formats.junit import render_junit

        return _written(path, render_junit(self.report))

    def to_sarif(self, path: str | Path) -> Path:
        """Write SARIF for code scanning; raises `UserError` if it cannot be written."""
        from reports.formats.sarif import render_sarif

        return _written(path, render_sarif(self.report))

    def to_csv(self, path: str | Path) -> Path:
        """Write all evidence as a table; raises `UserError` if it cannot be written."""
        from reports.formats.csv_table import render_csv

        return _written(path, render_csv(self.report))

    def save(self, folder: str | Path) -> Path:
        """Write `report.json` and its arrays, which every verb of the command line reads; returns the folder."""
        write(self.report, self.rows, Path(folder))
        return Path(folder)

    def _repr_html_(self) -> str:
        """The short form that notebooks show."""
        return self.report._repr_html_()

    def __str__(self) -> str:
        from rich.console import Console

        from reports.formats.terminal import render

        return _drawn(lambda console: render(self.report, console, self.rows), Console)

    def __repr__(self) -> str:
        return f"<report on {self.report.release.name}: {self.verdict}. {self.summary}>"


@dataclass(frozen=True, kw_only=True, repr=False)
class OpenedBench:
    """Every defense under the same adversaries. In a notebook it shows its page; `print` shows its table.

    Example:
        ```python
        table.to_csv("table.csv")
        ```

    Args:
        bench: the table.
    """

    bench: Bench

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row for each defense, in the order of what repurposing costs: `.name`, `.status`, `.values`."""
        return self.bench.rows

    def to_html(self, path: str | Path) -> Path:
        """Write one page without scripts; raises `UserError` if it cannot be written."""
        from reports.studies.bench.page import render_bench_html

        return _written(path, render_bench_html(self.bench))

    def to_csv(self, path: str | Path) -> Path:
        """Write the table as CSV; raises `UserError` if it cannot be written."""
        from reports.studies.bench.tables import csv_bench

        return _written(path, csv_bench(self.bench))

    def _repr_html_(self) -> str:
        """The page in a frame of its own."""
        from html import escape

        from reports.studies.bench.page import render_bench_html

        page = escape(render_bench_html(self.bench), quote=True)
        return f'<iframe title="bench" srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'

    def __str__(self) -> str:
        from rich.console import Console

        from reports.studies.bench.tables import render_bench

        return _drawn(lambda console: render_bench(self.bench, console), Console)

    def __repr__(self) -> str:
        return f"<bench of {', '.join(row.name for row in self.rows)} on {self.bench.dataset}>"


def open_report(path: str | Path) -> OpenedReport:
    """Read a report and, where they lie beside it, its arrays.

    Args:
        path: `report.json`, or the folder that holds it.

    Raises:
        UserError: it is missing, damaged or changed by hand.
    """
    report = load(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    named = folder / REPORT if Path(path).is_dir() else Path(path)
    beside = folder / SIDECAR if named.name == REPORT else named.with_suffix(".safetensors")
    return OpenedReport(report=report, rows=load_rows(path, report) if beside.is_file() else {})


def _written(path: str | Path, text: str) -> Path:
    write_all({Path(path): text.encode()})
    return Path(path)


def _drawn(render: Callable[[Any], None], console: Callable[..., Any]) -> str:
    """What a console would show, as text without colors."""
    text = io.StringIO()
    render(console(file=text, width=100, color_system=None, highlight=False))
    return text.getvalue()
