"""The options of `vfc bench` beside those of data, models and runs. Imports no torch."""

from __future__ import annotations

import rich_click as click

from protocols.engine.budget import BUDGETS

BENCH = (
    click.option(
        "--defenses", default="all", metavar="all|A,B[OPTION=VALUE]", help="Rows of the table [default: all]."
    ),
    click.option(
        "--threat", envvar="VFC_THREAT", help="Highest level of knowledge, L0 to L5 [default: the protocols']."
    ),
    click.option(
        "--budget",
        type=click.Choice(list(BUDGETS)),
        envvar="VFC_BUDGET",
        help="How much to spend on each row [default: standard].",
    ),
    click.option("--seeds", type=click.IntRange(1), envvar="VFC_SEEDS", help="Attack seeds [default: the budget's]."),
    click.option("--sweep", is_flag=True, help="A row for every utility-privacy weight on a defense's card."),
    click.option("--html", metavar="FILE", help="The page [default: bench.html in --out]."),
    click.option("--csv", metavar="FILE", help="The table [default: bench.csv in --out]."),
)
