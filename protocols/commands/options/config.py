"""What a config file may say, whichever verb reads it. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import rich_click as click

from protocols.commands.options.bench import BENCH
from protocols.commands.options.gates import split_gates
from protocols.commands.options.leakage import LEAKAGE
from protocols.commands.options.shared import ATTACK, CONFIG_FILE, CONFIGURED, DATA, MODEL, RUN, with_options
from protocols.engine.settings import config_file, overrides_of, read_config
from vfc.errors import UserError, unknown

_VARIABLES = ("VFC_CACHE_DIR", "VFC_CACHE_LIMIT", "VFC_DATA_ROOT", "VFC_COMPLETE", "VFC_PACKAGE")
"""Variables that are no options; the jobs of `vfc init` install VFC_PACKAGE."""


def config_keys() -> set[str]:
    """Every key that a config file may hold at its top."""

    def every() -> None:
        """Holds the options."""

    with_options(ATTACK, DATA, MODEL, RUN, LEAKAGE)(every)
    names = {str(option.name) for option in every.__click_params__}  # type: ignore[attr-defined]
    return (names | {"gates", "set", "policy", "defense", "ablate"}) - {"config", "overrides"}


def check_variables() -> None:
    """Refuse a variable of the environment that looks like an option and is none: it would set nothing.

    Raises:
        UserError: names it, and the nearest one.
    """

    def every() -> None:
        """Holds the options."""

    with_options(ATTACK, DATA, MODEL, RUN, LEAKAGE, BENCH)(every)
    options: list[Any] = every.__click_params__  # type: ignore[attr-defined]
    known = {str(option.envvar) for option in options if option.envvar} | set(_VARIABLES)
    for name in sorted(os.environ):
        if name.startswith("VFC_") and not name.startswith("VFC_ACTION_") and name not in known:
            raise unknown("variable of the environment", name, known)


def _from_file(name: str, value: Any, several: bool, file: str) -> Any:
    """An option's value from the config file: text, a number or a truth value, or a list of such where several may be.

    Raises:
        UserError: it is something else.
    """
    values = value if several and isinstance(value, list) else [value]
    odd = [each for each in values if not isinstance(each, (str, int, float))]
    if odd:
        raise UserError(f"expected text or a number as {name} in {file}, got {str(odd[0])[:60]}", "correct it")
    return values if several else value


def _one_word(options: dict[str, Any], file: str) -> dict[str, Any]:
    """Gates and presets of a config file, under whichever word they stand there, as the options that hold them.

    Raises:
        UserError: two words for the same, or no such preset.
    """
    if "gates" not in options and "gate" not in options:
        return options
    if "gates" in options and "gate" in options:
        raise UserError(f"expected gates in {file}, got gate and gates", "put all of them under gates")
    given = options.pop("gates", options.pop("gate", None))
    texts = [str(each) for each in (given if isinstance(given, list) else [given])]
    try:
        gates, preset = split_gates(texts, options.pop("preset", None))
    except UserError as error:
        raise UserError(f"{error.what} (in {file})", error.fix) from error
    found = {**options, "gate": list(gates), "preset": preset}
    return {name: value for name, value in found.items() if value not in (None, [])}


def configured(function: Callable[..., int]) -> Callable[..., int]:
    """Read the config file before the options, so that it can supply their defaults."""

    def load(context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        known = {str(p.name) for p in context.command.params} - {"config", "overrides"}
        several = {str(p.name) for p in context.command.params if getattr(p, "multiple", False)}
        options = read_config(value, known | {"set", "policy"} | ({"gates"} if "gate" in known else set()))
        file = str(config_file(value))
        context.meta[CONFIG_FILE] = file
        options.pop("policy", None)  # `reports.gate.policy` reads it when gates are judged
        # Kept apart, so that a --set of the command line adds to the file's and does not replace them all.
        context.meta[CONFIGURED] = overrides_of(options.pop("set", {}))
        options = {name: _from_file(name, item, name in {*several, "gates"}, file) for name, item in options.items()}
        options = _one_word(options, file)
        context.default_map = {**options, **(context.default_map or {})}
        return value

    for parameter in getattr(function, "__click_params__", []):
        if parameter.name == "config":
            parameter.callback, parameter.is_eager = load, True
    return function
