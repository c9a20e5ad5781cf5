"""The options of the verbs that read reports. Imports no torch."""

from __future__ import annotations

import rich_click as click

from reports.gate.presets import PRESETS

_LIMIT = "'METRIC OP NUMBER'"

GATE = (
    click.option("--gate", "gates", multiple=True, metavar=_LIMIT, help="What must hold; repeatable."),
    click.option("--gates", "preset", type=click.Choice(PRESETS), help="Ready-made gates."),
    click.option("--accept-secret", "accept", multiple=True, metavar="KIND", help="Accept a declared secret of KIND."),
    click.option("--baseline", metavar="REPORT", help="Earlier report.json; no metric may get worse."),
    click.option("--tolerance", type=float, help="What may be lost against --baseline [default: 0]."),
    click.option("--config", help="Config file with a policy [default: vfc.toml, or [tool.vfc] in pyproject.toml]."),
)
FORMATS = (
    click.option("--html", metavar="FILE", help="One self-contained page."),
    click.option("--junit", metavar="FILE", help="JUnit XML, for CI servers."),
    click.option("--sarif", metavar="FILE", help="SARIF 2.1.0, for code scanning."),
    click.option("--markdown", metavar="FILE", help="Markdown, for a step summary."),
    click.option("--csv", metavar="FILE", help="Metrics, evidence and gates as a table."),
)
MOVED = (click.option("--markdown", metavar="FILE", help="The verdict and what moved, for a pull request."),)
TABLE = (
    click.option("--markdown", metavar="FILE", help="The table as Markdown."),
    click.option("--csv", metavar="FILE", help="Every correlation, and the numbers behind it."),
    click.option("--json", metavar="FILE", help="Everything as data."),
)
PLAN = (
    click.option("--gate", "gates", multiple=True, metavar=_LIMIT, help="What is to be decided."),
    click.option("--report", metavar="REPORT", help="Earlier report.json whose numbers are assumed to be true."),
    click.option("--assume", multiple=True, metavar="NAME=VALUE", help="A true value; also floor and ceiling."),
    click.option("--power", type=float, default=0.8, help="Wanted probability of a decision [default: 0.8]."),
    click.option("--confidence", type=float, default=0.95, help="Of each one-sided bound [default: 0.95]."),
)
ACCEPT = (
    click.option("--reason", required=True, help="Why this report is the one to beat."),
    click.option("--to", "folder", default="vfc-baseline", help="The baseline [default: vfc-baseline]."),
)
