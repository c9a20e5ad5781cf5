"""`vfc reproduce`: a published table made again, command by command, beside what was published. Imports no torch."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from protocols.commands.output import complain, printing
from protocols.reproduction.recipe import Recipe, Scale, recipe_of, recipes, words_of
from reports.model.files import write_all
from reports.studies.reproduction.data import Reproduction, flags_of, rows_of
from reports.studies.reproduction.formats import json_reproduction, markdown_reproduction, render_reproduction
from vfc.errors import UserError
from vfc.version import VERSION

FILE = "steps.json"
_GIVEN_ENDS = (0, 1, 3)
"""Exit codes of a step that wrote its report: gates may break, and adversaries may be too weak."""


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """What the verb takes.

    Args:
        scale: which of the recipe's scales.
        seeds: how many, from 0 on; None for the scale's.
        given: what words in braces stand for.
        further: words that every command gets at its end.
        out: the folder; None for one named by the recipe and its scale.
        show: print the commands, and run nothing.
    """

    scale: Scale
    seeds: int | None = None
    given: Mapping[str, str]
    further: Sequence[str] = ()
    out: str | None = None
    show: bool = False


def run_reproduce(name: str | None, options: ReproduceOptions) -> int:
    """Run what is not finished yet, then print and write the table.

    Returns:
        0; 3 if a number is missing; the code of the command that failed.

    Raises:
        UserError: there is no such recipe or scale, or a word in braces has no value.
    """
    if name is None:
        return _list()
    recipe = recipe_of(name)
    scale = recipe.scale(options.scale)
    stem = Path(name).stem
    out = Path(options.out) if options.out else Path("runs") / f"{stem}-{options.scale}"
    seeds = tuple(range(options.seeds or scale.seeds))
    given = {**scale.defaults, **options.given}
    plan = [
        (f"seed-{seed}/{step.name}", [*words_of(step, given, seed=seed, out=out / f"seed-{seed}"), *options.further])
        for seed in seeds
        for step in scale.steps
    ]
    commands = [shlex.join(["vfc", *words]) for _, words in plan]
    if options.show:
        with printing():
            sys.stdout.write("".join(f"{command}\n" for command in commands))
        return 0
    done = _done(out)
    started = time.monotonic()
    for place, ((step, words), command) in enumerate(zip(plan, commands, strict=True), 1):
        if done.get(step) == (facts := {"command": words, "version": VERSION}):
            complain(f"[{place}/{len(plan)}] read back: {command}\n")
            continue
        complain(f"[{place}/{len(plan)}] {command}\n")
        code = subprocess.run([sys.executable, "-m", "vfc", *words], check=False, stdout=subprocess.DEVNULL).returncode
        if code not in _GIVEN_ENDS:
            complain(f"vfc reproduce: step {step} ended with {code}; what is finished is kept\n")
            return 130 if code < 0 else code
        done[step] = facts
        write_all({out / FILE: json.dumps(done, indent=1).encode()})
    made = _made(stem, recipe, options, seeds, out, commands[: len(scale.steps)], time.monotonic() - started)
    write_all(
        {
            out / "reproduction.json": json_reproduction(made).encode(),
            out / "reproduction.md": markdown_reproduction(made).encode(),
        }
    )
    with printing():
        render_reproduction(made, Console(highlight=False))
    return 0 if made.complete else 3


def _made(
    stem: str,
    recipe: Recipe,
    options: ReproduceOptions,
    seeds: tuple[int, ...],
    out: Path,
    commands: Sequence[str],
    seconds: float,
) -> Reproduction:
    """The table from the reports of all seeds."""
    rows = rows_of(recipe.rows, [out / f"seed-{seed}" for seed in seeds])
    return Reproduction(
        name=stem,
        title=recipe.title,
        source=recipe.source,
        scale=options.scale,
        needs=recipe.scale(options.scale).needs,
        seeds=seeds,
        differs=recipe.differs,
        commands=tuple(commands),
        hardware=f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seconds=seconds,
        rows=rows,
        flagged=flags_of(rows),
    )


def _list() -> int:
    """Name every recipe with its scales."""
    console = Console(highlight=False)
    with printing():
        for name in recipes():
            recipe = recipe_of(name)
            console.print(Text(f"{name}: {recipe.title} ({recipe.source})"))
            for scale, content in recipe.scales.items():
                console.print(Text(f"  --scale {scale}: {content.needs}"))
    return 0


def _done(out: Path) -> dict[str, Any]:
    """The steps that an earlier run has finished; none if nobody can say."""
    try:
        found = json.loads((out / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def parsed_values(texts: Sequence[str]) -> dict[str, str]:
    """`name=value` as a table.

    Raises:
        UserError: one of them is not of that form.
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise UserError(f"expected --with NAME=VALUE, got {text[:80]!r}", "for instance --with dataset=cifar10")
        found[name] = value
    return found
