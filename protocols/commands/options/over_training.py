"""The options of `vfc leakage --over-training` beside those of every `vfc leakage`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import rich_click as click
from click.core import ParameterSource

from protocols.commands.options.numbers import FiniteRange
from protocols.over_training.options import TRAINING, OverTraining, spelled
from vfc.errors import UserError

OVER_TRAINING = (
    click.option("--over-training", is_flag=True, help="Follow a training by its checkpoints, attack beside it."),
    click.option("--release", metavar="FOLDER", help="Run folder of vfc train --checkpoints N."),
    click.option("--part", type=click.Choice(["target", "encoder"]), help="Of that folder [default: target]."),
    click.option(
        "--checkpoints",
        metavar="N|'PATTERN'",
        help="States to keep of a training of its own [default: 12], or files of --model's states.",
    ),
    click.option(
        "--shadows", type=click.IntRange(0, 1000), help="Shadow trainings; 0: no membership attack [default: 4]."
    ),
    click.option("--members", type=click.IntRange(10, 10**7), help="Members asked, and as many others [default: 500]."),
    click.option("--target", help="Architecture of a training of its own [default: cnn]."),
    click.option("--width", type=FiniteRange(0.05, 4), help="Channel multiplier of it."),
    click.option("--set", "overrides", multiple=True, metavar="train.OPTION=VALUE", help="Option of it; repeatable."),
)

OWN = tuple(field.name for field in fields(OverTraining))


def split_over_training(options: Mapping[str, Any]) -> tuple[OverTraining | None, dict[str, Any]]:
    """These options, or None without `--over-training`, and all others.

    Raises:
        UserError: an option of these without `--over-training`.
    """
    given = {name: value for name, value in options.items() if name in OWN and value is not None}
    rest = {name: value for name, value in options.items() if name not in OWN and name != "over_training"}
    if not options.get("over_training"):
        needs = {name: value for name, value in {**given, **_training(rest)}.items() if value}
        if needs:
            name = spelled(next(iter(needs)))
            raise UserError(f"expected --over-training beside --{name}, got none", "add it, or leave that out")
        if rest.get("model") is None:
            raise UserError("expected --model FACTORY or --over-training, got neither", "mypkg:build, say")
        return None, rest
    typed = [name for name in {**given, **_training(rest)} if _typed(name)]
    if "overrides" in typed and not any(text.startswith("train.") for text in rest["overrides"]):
        typed.remove("overrides")
    return replace(OverTraining(), **given).checked(rest.get("model"), typed), rest


def _training(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in TRAINING if options.get(name)}


def _typed(name: str) -> bool:
    """Whether an option was given for this call; a config file may serve many."""
    context = click.get_current_context(silent=True)
    return context is None or context.get_parameter_source(name) is not ParameterSource.DEFAULT_MAP
