"""Verbs that compute: attack, train, bench, calibrate, leakage, reproduce."""

from __future__ import annotations

import sys
from typing import Any

import rich_click as click

from protocols.commands.options.bench import BENCH
from protocols.commands.options.config import configured
from protocols.commands.options.leakage import LEAKAGE
from protocols.commands.options.numbers import FiniteRange
from protocols.commands.options.over_training import split_over_training
from protocols.commands.options.shared import ATTACK, DATA, MODEL, RUN, settings_from, with_options
from protocols.verbs.program import program
from vfc.errors import UserError


@program.command()
@configured
@with_options(ATTACK, DATA, MODEL, RUN)
def attack(**options: Any) -> int:
    """Attack a release under declared threat models and judge the gates."""
    from protocols.commands.attack import run_attack

    passed = {name: value for name, value in options.items() if value is not None and value != ()}
    return run_attack(settings_from(options), passed, sys.argv)


@program.command()
@configured
@click.option("--defense", "release", help="Registered defense to train [default: vfc].")
@click.option(
    "--ablate", type=click.Choice(["mask", "decoder", "all"]), help="Train the variants of one choice, side by side."
)
@click.option(
    "--checkpoints",
    type=click.IntRange(0, 10_000),
    default=0,
    help="States of the target and of VFC that are kept, at log-spaced steps [default: 0].",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    help="Seeds that every variant of --ablate is trained with, from --seed up [default: 1].",
)
@with_options(DATA, MODEL, RUN)
def train(ablate: str | None, checkpoints: int, repeat: int, **options: Any) -> int:
    """Train a target model, a defense in front of it, and the unintended models of the attacker pool."""
    settings = settings_from(options)
    if ablate is not None:
        if checkpoints:
            raise UserError("expected no --checkpoints beside --ablate, got both", "leave one of them out")
        from protocols.commands.ablate import run_ablation

        return run_ablation(settings, ablate, repeat=repeat)
    if repeat > 1:
        raise UserError("expected --ablate beside --repeat, got --repeat alone", "add --ablate mask, say")
    from protocols.commands.train import run_train

    return run_train(settings, checkpoints=checkpoints)


@program.command()
@configured
@with_options(BENCH, DATA, MODEL, RUN)
def bench(defenses: str, sweep: bool, html: str | None, csv: str | None, **options: Any) -> int:
    """Put every defense under the same adversaries, and show what each costs and leaks in one table."""
    from protocols.commands.bench import BenchOptions, run_bench

    files = {form: file for form, file in (("html", html), ("csv", csv)) if file is not None}
    own = BenchOptions(defenses=defenses, sweep=sweep, files=files)
    passed = {name: value for name, value in options.items() if value is not None and value != ()}
    return run_bench(settings_from(options), own, {**passed, "defenses": defenses, "sweep": sweep}, sys.argv)


@program.command()
@click.option("--dataset", "datasets", multiple=True, help="digits or gaussian; repeatable [default: both].")
@click.option("--budget", type=click.Choice(["smoke", "standard", "full"]), help="How many runs [default: standard].")
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=FiniteRange(0, 1, min_open=True),
    help="Share of images that carry a leak, besides all of them; repeatable [default: the budget's].",
)
@click.option("--runs", type=click.IntRange(1, 9999), help="Seeds at full strength, of nulls [default: the budget's].")
@click.option("--write", is_flag=True, help="Replace the shipped results.")
@click.option("--show", is_flag=True, help="Show the shipped results, and measure nothing.")
@with_options(RUN)
def calibrate(show: bool, **options: Any) -> int:
    """Measure what the adversaries find, and how often they cry wolf, on known leaks and nulls."""
    if show:
        from protocols.commands.calibrate_show import run_show

        return run_show(options["datasets"])
    from protocols.commands.calibrate import run_calibrate, settings_of

    settings, own = settings_of(options)
    return run_calibrate(settings, **own)


@program.command()
@configured
@with_options(LEAKAGE, DATA)
def leakage(**options: Any) -> int:
    """Measure what the layers of a torch module let through, without any attack; or follow a training."""
    over, rest = split_over_training(options)
    from protocols.commands.leakage import run_leakage, split_options

    own, settings = split_options(rest)
    if over is None:
        return run_leakage(own, settings)
    from protocols.commands.over_training import run_overtraining

    return run_overtraining(own, over, settings)


@program.command()
@click.argument("name", required=False)
@click.option("--scale", type=click.Choice(["small", "paper"]), default="small", help="How large [default: small].")
@click.option("--seeds", type=click.IntRange(1, 100), help="How many seeds [default: the recipe's].")
@click.option("--with", "given", multiple=True, metavar="NAME=VALUE", help="What {NAME} stands for; repeatable.")
@click.option("--out", help="Folder to write to [default: runs/NAME-SCALE].")
@click.option("--show", is_flag=True, help="Print the commands, and run nothing.")
@click.argument("further", nargs=-1, type=click.UNPROCESSED)
def reproduce(name: str | None, **options: Any) -> int:
    """Make a published table again, and put it beside what was published; without a name, list them.

    Options behind `--` go to every command of the recipe.
    """
    from protocols.commands.reproduce import ReproduceOptions, parsed_values, run_reproduce

    given = parsed_values(options.pop("given"))
    return run_reproduce(name, ReproduceOptions(given=given, **options))
