"""Verbs for outsiders' attacks and defenses: suite, grade, leaderboard."""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

from protocols.commands.options.config import configured
from protocols.commands.options.shared import DATA, MODEL, RUN, settings_from, with_options
from protocols.commands.options.suite import GRADE, LEADERBOARD, SUITE
from protocols.verbs.program import program


@program.group()
def suite() -> None:
    """Freeze the releases of a bench, so that others can attack the same ones."""


@suite.command("make")
@configured
@click.argument("name")
@with_options(SUITE, DATA, MODEL, RUN)
def suite_make(name: str, defenses: str, **options: Any) -> int:
    """Freeze releases, splits and answers under a name with a version, as digits-1, beside our own attacks."""
    from protocols.commands.suite.suite import run_make

    passed = {option: value for option, value in options.items() if value is not None and value != ()}
    return run_make(settings_from(options), name, defenses, {**passed, "defenses": defenses}, sys.argv)


@suite.command("list")
def suite_list() -> int:
    """Show the suites in the user's cache folder."""
    from protocols.commands.suite.suite import run_list_suites

    return run_list_suites()


@suite.command("verify")
@click.argument("suite")
def suite_verify(suite: str) -> int:
    """Check every file of a suite against its manifest."""
    from protocols.commands.suite.suite import run_verify_suite

    return run_verify_suite(suite)


@program.command()
@click.argument("guesses")
@with_options(GRADE)
def grade(guesses: str, attribute: str | None, **options: Any) -> int:
    """Grade somebody else's guesses about the targets of a suite with our controls, beside our own attack."""
    from protocols.commands.suite.grade import GradeOptions, run_grade

    return run_grade(guesses, GradeOptions(attribute=attribute or "", **options))


@program.command()
@click.argument("entries")
@with_options(LEADERBOARD)
def leaderboard(entries: str, accept: tuple[str, ...], **files: str | None) -> int:
    """Show what is claimed of defenses, what was measured of them, and who attacked them."""
    from protocols.commands.suite.leaderboard import run_leaderboard

    return run_leaderboard(entries, {form: file for form, file in files.items() if file is not None}, accept)
