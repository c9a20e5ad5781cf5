"""Verbs that read reports: gate, report, compare, predict, plan, baseline, schema. `plan` of a run alone imports
torch.
"""

from __future__ import annotations

from typing import Any

import rich_click as click

from protocols.commands.options.report import ACCEPT, FORMATS, GATE, MOVED, PLAN, TABLE
from protocols.commands.options.shared import DATA, MODEL, RUN, WHAT, with_options
from protocols.verbs.program import program


@program.command()
@click.argument("report")
@with_options(GATE)
def gate(report: str, **options: Any) -> int:
    """Judge a report.json again, against limits, a policy, or an earlier report."""
    from protocols.commands.gate import run_gate

    return run_gate(report, options.pop("gates"), **options)


@program.command()
@click.argument("report")
@with_options(FORMATS)
def report(report: str, **files: str | None) -> int:
    """Write a report.json in other formats; without any, show it on the terminal."""
    from protocols.commands.report import run_report

    return run_report(report, {name: file for name, file in files.items() if file is not None})


@program.command()
@click.argument("reports", nargs=-1, required=True, metavar="OLD NEW [NEW...]")
@with_options(MOVED)
def compare(reports: tuple[str, ...], **files: str | None) -> int:
    """Show what moved between reports, by how much, and whether that is noise."""
    from protocols.commands.compare import run_compare

    return run_compare(reports, {name: file for name, file in files.items() if file is not None})


@program.command()
@click.argument("reports", nargs=-1, required=True, metavar="REPORT REPORT [REPORT...]")
@with_options(TABLE)
def predict(reports: tuple[str, ...], **files: str | None) -> int:
    """Correlate the attack-free numbers of many releases with what attacks measured."""
    from protocols.commands.predict import run_predict

    return run_predict(reports, {name: file for name, file in files.items() if file is not None})


@program.command()
@with_options(PLAN, WHAT, MODEL, DATA, RUN)
def plan(**options: Any) -> int:
    """Say how many targets gates need to be decidable; with options of a run, also what it will take."""
    from protocols.commands.plan import run_plan

    own = {name: options.pop(name) for name in ("gates", "report", "assume", "power", "confidence")}
    asked = {name: value for name, value in options.items() if value is not None and value != ()}
    return run_plan(**own, run=asked)


@program.group()
def baseline() -> None:
    """Keep the report that `vfc gate --baseline` compares with."""


@baseline.command()
@click.argument("report")
@with_options(ACCEPT)
def accept(report: str, reason: str, folder: str) -> int:
    """Make a report the baseline, and write down why."""
    from protocols.commands.baseline import run_accept

    return run_accept(report, reason, folder)


@program.command()
def schema() -> int:
    """Print the JSON Schema of report.json."""
    from protocols.commands.schema import run_schema

    return run_schema()
