"""`vfc report`: a report.json in other formats. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from protocols.bench.rows import refuse_bench
from protocols.commands.output import printing, write_formats
from reports.model.files import REPORT
from reports.model.report import Report
from reports.model.storage import load, load_rows


def run_report(path: str, files: Mapping[str, str]) -> int:
    """Write the formats asked for, all or none; without any, show the report on the terminal.

    Args:
        path: report.json, or the folder that holds it.
        files: file by format: html, junit, sarif, markdown, csv.

    Raises:
        UserError: the report cannot be used, or a file cannot be written.
    """
    refuse_bench(path)
    report = load(path)
    if not files:
        _show(report)
        return 0
    write_formats([path], files, _renderers(path, report))
    return 0


def _show(report: Report) -> None:
    from rich.console import Console

    from reports.formats.terminal import render

    with printing():
        render(report, Console())


def _html(path: str, report: Report) -> str:
    """Without the sidecar the page has no pictures; one of another report is refused."""
    from reports.formats.html import render_html

    source = Path(path) / REPORT if Path(path).is_dir() else Path(path)
    if not source.with_suffix(".safetensors").exists():
        sys.stderr.write("no report.safetensors beside the report: the page has no pictures\n")
        return render_html(report, {})
    return render_html(report, load_rows(path, report))


def _renderers(path: str, report: Report) -> dict[str, Callable[[], str]]:
    """The text of the report in every format."""
    from reports.formats.csv_table import render_csv
    from reports.formats.junit import render_junit
    from reports.formats.markdown import render_markdown
    from reports.formats.sarif import render_sarif

    renderers = {"junit": render_junit, "sarif": render_sarif, "markdown": render_markdown, "csv": render_csv}
    return {"html": partial(_html, path, report), **{name: partial(each, report) for name, each in renderers.items()}}
