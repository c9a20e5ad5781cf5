"""`vfc report`: a report.json in other formats. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from protocols.commands.output import printing
from reports.model.files import write_all
from reports.model.report import Report
from reports.model.storage import REPORT, load, load_rows
from vfc.errors import UserError


def run_report(path: str, files: Mapping[str, str]) -> int:
    """Write the formats asked for, all or none; without any, show the report on the terminal.

    Args:
        path: report.json, or the folder that holds it.
        files: file by format: html, junit, sarif, markdown, csv.

    Raises:
        UserError: the report cannot be used, or a file cannot be written.
    """
    report = load(path)
    if not files:
        _show(report)
        return 0
    targets = [Path(file).resolve() for file in files.values()]
    source = Path(path) / REPORT if Path(path).is_dir() else Path(path)
    mine = {source.resolve(), source.with_suffix(".safetensors").resolve()}
    if len(set(targets)) < len(targets) or set(targets) & mine:
        raise UserError("expected a file of its own for every format, got one twice", "name different files")
    write_all({Path(file): _RENDERERS[name](path, report).encode() for name, file in files.items()})
    for file in files.values():
        sys.stderr.write(f"wrote {''.join(c if c.isprintable() else '?' for c in file)}\n")
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


def _junit(_path: str, report: Report) -> str:
    from reports.formats.junit import render_junit

    return render_junit(report)


def _sarif(_path: str, report: Report) -> str:
    from reports.formats.sarif import render_sarif

    return render_sarif(report)


def _markdown(_path: str, report: Report) -> str:
    from reports.formats.markdown import render_markdown

    return render_markdown(report)


def _csv(_path: str, report: Report) -> str:
    from reports.formats.csv_table import render_csv

    return render_csv(report)


_RENDERERS: dict[str, Callable[[str, Report], str]] = {
    "html": _html,
    "junit": _junit,
    "sarif": _sarif,
    "markdown": _markdown,
    "csv": _csv,
}
