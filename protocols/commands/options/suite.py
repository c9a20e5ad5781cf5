"""The options of `vfc suite` and `vfc grade`. Imports no torch."""

from __future__ import annotations

import rich_click as click

from protocols.engine.budget import BUDGETS

SUITE = (
    click.option("--defenses", default="all", metavar="all|A,B,C", help="Defenses that are frozen [default: all]."),
    click.option(
        "--budget",
        type=click.Choice(list(BUDGETS)),
        envvar="VFC_BUDGET",
        help="How much our own attacks spend on each defense [default: standard].",
    ),
)
GRADE = (
    click.option("--suite", required=True, metavar="NAME|FOLDER", help="What the guesses are about."),
    click.option("--defense", required=True, help="Whose releases were attacked."),
    click.option("--level", default="L2", help="What the attacker knew, L0 to L4 [default: L2]."),
    click.option("--labels", metavar="K|all", help="Labelled releases per class that it used [default: all]."),
    click.option(
        "--goal", type=click.Choice(["task", "attribute"]), default="task", help="What it guessed [default: task]."
    ),
    click.option("--attribute", default=None, help="Which attribute [default: the only one]."),
    click.option("--out", metavar="FILE", help="The grade [default: beside the guesses, as .grade.json]."),
)
LEADERBOARD = (
    click.option("--accept-secret", "accept", multiple=True, metavar="KIND", help="Accept declared secrets of KIND."),
    click.option("--html", metavar="FILE", help="One self-contained page."),
    click.option("--json", metavar="FILE", help="Everything as data."),
)
