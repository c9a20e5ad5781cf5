"""A grade on a terminal, and what suites there are. Every text of a file is made harmless first. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from adversaries.evidence import Value
from reports.formats.tables import harmless, table
from reports.model.numbers import figure
from reports.studies.suite.grading import Grade, OurAttack, Standing
from reports.studies.suite.manifest import Suite

STANDING: dict[Standing, str] = {
    "vouched": "vouched: both controls ran and speak for this attack",
    "unvouched": "inconclusive: nobody vouches for this attack",
    "void": "inconclusive: the shuffled control speaks against this attack",
}


def render_grade(made: Grade, console: Console) -> None:
    """Print the arms of a graded attack, ours beside it, and what they mean.

    Args:
        made: what was graded.
        console: where to print; its width, colors and encoding are respected.
    """
    console.print(harmless(title(made), console, "bold"))
    drawn = table("", "accuracy on the targets", "")
    for name, value, about in _lines(made):
        number = "not given" if value is None else figure(value)
        drawn.add_row(harmless(name, console), harmless(number, console), harmless(about, console, "dim"))
    console.print(drawn)
    console.print()
    for sentence in sentences(made):
        console.print(harmless(sentence, console))


def title(made: Grade) -> str:
    """What was graded, in one line."""
    by = f" by {made.by}" if made.by else ""
    return f"An attack{by} on {made.defense} of {made.suite}: {made.goal}, {granted(made)}"


def granted(made: Grade | OurAttack) -> str:
    """What an attacker had: theirs as its author says, ours as the report does."""
    if made.labels is None:
        return made.level
    return f"{made.level} with {'all labels' if made.labels == 'all' else f'{made.labels} labels per class'}"


def sentences(made: Grade) -> list[str]:
    """What the numbers mean."""
    said = [f"{STANDING[made.standing]}.", *(f"{doubt[:1].upper()}{doubt[1:]}." for doubt in made.doubts)]
    if made.above_floor:
        said.append("It is clearly above the floor: these guesses hold more than a constant or the prediction tells.")
    elif made.standing == "vouched":
        said.append("It is not clearly above the floor. That this attack finds nothing does not say that none would.")
    else:
        said.append("It is not clearly above the floor: without two controls that speak for it, that says nothing.")
    if made.ours is None:
        said.append("The suite's own attacks were not granted so many labels, so there is nothing of ours beside it.")
    elif made.lead is None:
        said.append("The suite's report does not keep our attack's rows, so nothing is paired.")
    elif made.ahead:
        said.append(f"It is clearly ahead of ours: {figure(made.lead)} more of the same targets.")
    else:
        said.append(f"It is not clearly ahead of ours: {figure(made.lead)} more of the same targets.")
    said.append(f"What the attacker used ({granted(made)}) is its author's word: guesses do not show it.")
    return said


def render_suites(found: Sequence[Suite], console: Console) -> None:
    """Print one line a suite."""
    drawn = table("suite", "data", "task", "targets", "defenses", "budget", "digest", "folder")
    for suite in found:
        about, data = suite.manifest, suite.manifest.dataset
        frozen = sum(bool(each.folder) for each in about.defenses.values())
        cells = (
            about.name,
            data.name,
            data.task,
            str(data.parts["targets"].size),
            f"{frozen} of {len(about.defenses)}",
            about.budget,
            about.digest[:12],
            str(suite.folder),
        )
        drawn.add_row(*(harmless(cell, console) for cell in cells))
    console.print(drawn)


def _lines(made: Grade) -> list[tuple[str, Value | None, str]]:
    lines: list[tuple[str, Value | None, str]] = [
        ("attack", made.attack, ""),
        ("floor", made.floor, "best guess without the release"),
        ("ceiling", made.ceiling, "the same method on the images"),
        ("shuffled", made.shuffled, "the same method on permuted labels"),
    ]
    if made.ours is not None:
        lines.append(("ours", made.ours.accuracy, f"{made.ours.adversary}, {granted(made.ours)}"))
    return lines
