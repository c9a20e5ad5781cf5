"""Options given as text or JSON, checked against the dataclass that they configure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

from vfc.errors import UserError, unknown

T = TypeVar("T")
AMOUNTS = ("steps", "iterations", "times", "epochs", "batch", "lr", "width", "screen", "queries")
"""Options that mean nothing unless they are above 0: an attack of no steps would find nothing and look like safety."""


def configured(kind: type[T], options: Mapping[str, Any], name: str) -> T:
    """An instance of a frozen dataclass with some options; see `checked_options` for the arguments."""
    return kind(**checked_options(kind, options, name))


def checked_options(kind: type[Any], options: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Options of a frozen dataclass, each of the declared type.

    Args:
        kind: the dataclass.
        options: by field name.
        name: how errors call it, the part before the dot in `--set NAME.OPTION=VALUE`.

    Raises:
        UserError: there is no such option, or the value does not fit it.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    fields = {field.name for field in dataclasses.fields(kind) if field.init}
    hints = get_type_hints(kind)
    checked = {}
    for option, value in options.items():
        if option not in fields:
            raise unknown(f"option of {name}", option, fields)
        try:
            adapter = TypeAdapter(hints[option], config=ConfigDict(arbitrary_types_allowed=True))
            checked[option] = adapter.validate_python(value)
        except ValidationError as error:
            reason = error.errors(include_url=False)[0]["msg"]
            raise UserError(f"expected another value of {name}.{option}, got {value!r}", reason) from error
        number = checked[option]
        if isinstance(number, float) and not math.isfinite(number):
            raise UserError(f"expected a finite number as {name}.{option}, got {value!r}", "give a number")
        if option in AMOUNTS and isinstance(number, (int, float)) and number <= 0:
            raise UserError(f"expected {name}.{option} above 0, got {value!r}", "give a positive number")
    return checked
