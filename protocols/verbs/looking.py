"""Verbs that look after what is there: list, init, cache."""

from __future__ import annotations

from typing import Any

import rich_click as click

from protocols.commands.options.cache import PRUNE
from protocols.commands.options.shared import with_options
from protocols.verbs.program import program


@program.command("list")
@click.argument("kind", required=False)
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> int:
    """List protocols, adversaries, defenses, datasets, models or metrics, or show the card of one."""
    from protocols.commands.list import run_list

    return run_list(kind, name)


@program.group()
def cache() -> None:
    """Look after the cache of trained parts and finished tasks that runs share."""


@cache.command("list")
def cache_list() -> int:
    """Show what the cache holds, and how long ago it was used."""
    from protocols.commands.cache import run_list_cache

    return run_list_cache()


@cache.command("prune")
@with_options(PRUNE)
def cache_prune(**options: Any) -> int:
    """Remove what was not used for longest; runs that need it make it again."""
    from protocols.commands.cache import run_prune

    return run_prune(**options)


@cache.command("verify")
@click.option("--remove", is_flag=True, help="Remove what is damaged.")
def cache_verify(remove: bool) -> int:
    """Check every byte of the cache against the digests kept beside it."""
    from protocols.commands.cache import run_verify

    return run_verify(clean=remove)


@program.command()
@click.argument("folder", default=".")
@click.option(
    "--ci",
    "service",
    type=click.Choice(["github", "gitlab", "shell", "none"]),
    default="github",
    help="Which service runs the job [default: github].",
)
def init(folder: str, service: str) -> int:
    """Write a config file, a defense to replace, a test and a CI job; the first run of them is green."""
    from protocols.starter.init import run_init

    return run_init(folder, service)
