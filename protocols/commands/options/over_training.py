"""The options of `vfc leakage --over-training` beside those of every `vfc leakage`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import rich_click as click
from click.core import ParameterSource

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
    click.option("--shadows", type=click.IntRange(0), help="Shadow trainings; 0: no membership attack [default: 4]."),
    click.option("--members", type=click.IntRange(10), help="Members asked, and as many others [default: 500]."),
    click.option("--target", help="Architecture of a training of its own [default: cnn]."),
    click.option("--width", type=click.FloatRange(0.05, 4), help="Channel multiplier of it."),
    click.option("--set", "overrides", multiple=True, metavar="train.OPTION=VALUE", help="Option of it; repeatable."),
)

COUNT, FEWEST = 12, 3

TRAINING = ("target", "width", "overrides")
"""Options that only a training of its own obeys."""

ATTACK = ("shadows", "members")
"""Options that only the membership attack obeys."""


@dataclass(frozen=True, kw_only=True)
class OverTraining:
    """What only `--over-training` has.

    Args:
        release: a run folder that holds checkpoints.
        part: of that folder, `target` or `encoder`.
        checkpoints: how many states a training of its own keeps, or a pattern of files.
        shadows: trainings of the attacker; 0 or at least 2.
        members: members that are asked about, at most, and as many non-members.
    """

    release: str | None = None
    part: str = "target"
    checkpoints: str | None = None
    shadows: int = 4
    members: int = 500

    def checked(self, model: str | None, given: Sequence[str] = ()) -> OverTraining:
        """Itself, if the options go together.

        Args:
            model: the user's factory, or None.
            given: names of the options that the user typed.

        Raises:
            UserError: they do not.
        """
        if model is not None and self.release is not None:
            raise UserError("expected --release or --model, got both", "leave one of them out")
        self._check_useful(model, given)
        if self.release is None and self.part != "target":
            raise UserError(f"expected --release beside --part {self.part}, got none", "name a run folder")
        if self.release is not None and self.checkpoints is not None:
            raise UserError("expected no --checkpoints beside --release, which has its own, got both", "leave it out")
        if model is not None and self.checkpoints is None:
            raise UserError("expected the checkpoints of --model, got none", "--checkpoints 'path/*.pt'")
        if self.shadows == 1:
            raise UserError("expected 2 or more --shadows, or 0 for none, got 1", "a threshold needs two of them")
        if model is None and self.release is None and self.count < FEWEST:
            raise UserError(f"expected {FEWEST} or more --checkpoints, got {self.checkpoints}", "12, say")
        return self

    def _check_useful(self, model: str | None, given: Sequence[str]) -> None:
        """Refuse what would change nothing."""
        useless: dict[str, Sequence[str]] = {}
        if model is not None:
            useless["--model, whose states are given and whose members nobody knows"] = (*TRAINING, *ATTACK)
        if self.release is not None:
            useless["--release, which is trained already"] = TRAINING
        if self.shadows == 0:
            useless["--shadows 0, which asks nobody"] = ("members",)
        for beside, names in useless.items():
            for name in names:
                if name in given:
                    raise UserError(f"expected no --{_spelled(name)} beside {beside}, got both", "leave it out")

    @property
    def count(self) -> int:
        """How many states a training of its own keeps.

        Raises:
            UserError: no number.
        """
        text = self.checkpoints or str(COUNT)
        if not text.isascii() or not text.isdigit():
            raise UserError(f"expected a number as --checkpoints without --model, got {text!r}", "12, say")
        return int(text)


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
            name = _spelled(next(iter(needs)))
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


def _spelled(name: str) -> str:
    return name.replace("_", "-").replace("overrides", "set")
