"""`vfc grade`: somebody else's guesses about a frozen suite, graded with our controls. Imports no torch."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from adversaries.threat import Labels
from protocols.commands.output import printing
from reports.model.files import write_all
from reports.studies.suite.grading import Aim, Question, dump, grade, parse
from reports.studies.suite.manifest import open_suite
from vfc.errors import UserError


@dataclass(frozen=True, kw_only=True)
class GradeOptions:
    """What was asked for.

    Args:
        suite: name or folder.
        defense: name in the suite.
        level: threat level.
        labels: labelled releases per class as text; None if it was not given.
        goal: task or attribute.
        attribute: which one; empty if it was not given.
        out: where the grade goes; None for beside the guesses.
    """

    suite: str
    defense: str
    level: str
    labels: str | None
    goal: Aim
    attribute: str
    out: str | None


def run_grade(guesses: str, options: GradeOptions) -> int:
    """Grade a file of guesses, write the grade, and show it.

    Args:
        guesses: an `.npz` file.
        options: what it is about.

    Returns:
        0 if both controls ran and speak for the attack, else 3.

    Raises:
        UserError: the guesses, the suite or the options cannot be used.
    """
    level = parse(options.level.upper())
    question = Question(
        defense=options.defense,
        aim=options.goal,
        attribute=options.attribute,
        level=level,
        labels=_labels(options.labels, level),
    )
    path = Path(guesses)
    out = Path(options.out) if options.out else path.with_suffix(".grade.json")
    made = grade(open_suite(options.suite), path, question)
    if out.resolve() == path.resolve():
        raise UserError(f"expected another file as --out, got the guesses {out}", "choose another one")
    write_all({out: dump(made)})
    with printing():
        from rich.console import Console

        from reports.studies.suite.tables import render_grade

        render_grade(made, Console(highlight=False))
    sys.stderr.write(f"wrote {''.join(c if c.isprintable() else '?' for c in str(out))}\n")
    return 0 if made.standing == "vouched" else 3


def _labels(text: str | None, level: str) -> Labels | None:
    """How many labelled releases per class; levels below L2 have none, and others all unless a number was given."""
    if level < "L2":
        if text is not None:
            raise UserError(f"expected no --labels at {level}, which grants no labelled release, got {text}", "drop it")
        return None
    if text is None or text == "all":
        return "all"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise UserError(f"expected a number or all as --labels, got {text!r}", "as --labels 10")
    return int(text)
