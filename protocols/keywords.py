"""Keywords of the functions that programs call, as settings: checked by name and by type. Imports no torch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from protocols.engine.settings import Settings, parse_override
from vfc.config import checked_options
from vfc.errors import UserError, unknown

INTERNAL = ("identity_extra", "levels", "verbosity")
"""Fields of `Settings` that are nobody's to look for; the last one may be given."""

_OVERRIDES = 'write overrides={"train.steps": 40}'


def keywords(function: Callable[..., Any], without: Sequence[str] = ()) -> tuple[set[str], set[str]]:
    """All keywords of a function, and those of them that are fields of `Settings` and no parameters of it.

    Args:
        function: has parameters, and takes fields of `Settings` as `options`.
        without: fields that mean nothing there.
    """
    parameters = set(inspect.signature(function).parameters) - {"options"}
    further = {field.name for field in fields(Settings)} - parameters - {*without, *INTERNAL}
    return parameters | further, further


def checked(
    options: Mapping[str, Any], name: str, function: Callable[..., Any], without: Sequence[str] = ()
) -> dict[str, Any]:
    """Further settings, each of its type; a single text is meant as one where several may be.

    Args:
        options: what was given beside the parameters.
        name: how users call the function.
        function, without: as for `keywords`.

    Raises:
        UserError: there is no such setting, or it is of another type.
    """
    known, further = keywords(function, without)
    found: dict[str, Any] = {}
    for option, value in options.items():
        if option not in {*further, "verbosity"}:
            raise unknown("option", option, known, f"help({name})")
        if option == "overrides":
            found[option] = _overrides(value)
        elif isinstance(getattr(Settings, option), tuple):
            # A list with commas, as on the command line.
            found[option] = texts(value.split(",") if option == "unintended" and isinstance(value, str) else value)
        else:
            found[option] = str(value) if isinstance(value, Path) else value
    return checked_options(Settings, found, name)


def texts(values: Any) -> tuple[Any, ...]:
    """Several values; a single one is meant as one."""
    one = isinstance(values, str) or not isinstance(values, Iterable)
    return (values,) if one else tuple(value.strip() if isinstance(value, str) else value for value in values)


def _overrides(value: Any) -> tuple[tuple[str, Any], ...]:
    """Options by `name.option`: from a mapping, also of mappings, from pairs, or from texts as `--set` has them."""
    found: dict[str, Any] = {}
    for each in value.items() if isinstance(value, Mapping) else texts(value):
        pair = parse_override(each) if isinstance(each, str) else each
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise UserError(f"expected overrides as a mapping, got {each!r}", _OVERRIDES)
        name, item = pair
        found |= (
            {f"{name}.{option}": one for option, one in item.items()} if isinstance(item, Mapping) else {name: item}
        )
    for key in found:
        if "." not in key:
            raise UserError(f"expected name.option in overrides, got {key!r}", _OVERRIDES)
    return tuple(sorted(found.items()))
