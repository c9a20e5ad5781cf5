"""Options given as text, JSON or TOML, checked against the dataclass that they configure."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from vfc.errors import UserError, unknown

T = TypeVar("T")
AMOUNTS = ("steps", "iterations", "times", "epochs", "batch", "lr", "width", "screen", "queries")
"""Options that mean nothing unless they are above 0: an attack of no steps would find nothing and look like safety."""

MOST = 1e9
"""No such option may be larger: nothing of that size ends."""

LARGEST = 2**63
"""Integers of options and config files are below it, as TOML asks for."""


def read_toml(file: Path) -> tuple[str, dict[str, Any]]:
    """The text of a TOML file, and what it says.

    Raises:
        UserError: unreadable, no TOML, nested too deeply, or with integers that 64 bits do not hold.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read the config file {file}: {error.strerror}", "name an existing file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"expected TOML in {file}, got: {str(error)[:300]}", "correct the file") from error
    return text, parse_toml(text, str(file))


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """What TOML says.

    Raises:
        UserError: no TOML, nested too deeply, or with integers that 64 bits do not hold.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML, integers of thousands of digits, or nesting
        raise UserError(f"expected TOML in {name}, got: {str(error)[:300]}", "correct the file") from error
    return {key: checked_value(value, f"{key} in {name}") for key, value in data.items()}


def tool_table(data: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    """`[tool.vfc]` of a pyproject.toml; None without one.

    Raises:
        UserError: it is no table.
    """
    tool = data.get("tool", {})
    found = tool.get("vfc") if isinstance(tool, dict) else tool
    if found is not None and not isinstance(found, dict):
        raise UserError(f"expected a table [tool.vfc] in {file}, got {found!r}", "correct the file")
    return found


def parsed_value(text: str, name: str) -> Any:
    """A value given as text: JSON if it is JSON, else the text itself.

    Raises:
        UserError: nested too deeply, or a number that 64 bits do not hold.
    """
    try:
        return checked_value(json.loads(text), name)
    except json.JSONDecodeError:
        return text
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"expected a value of {name}, got {text[:60]!r}...: {str(error)[:100]}", "shorten it"
        ) from error


def checked_value(value: Any, name: str, depth: int = 0) -> Any:
    """A value of JSON or TOML, unless a number in it is too large for 64 bits or it is nested too deeply."""
    if depth > 20:
        raise UserError(f"expected at most 20 levels inside {name}, got more", "flatten it")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise UserError(f"expected a number below 2^63 as {name}, got one of {value.bit_length()} bits", "shorten it")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        checked_value(item, name, depth + 1)
    return value


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
        if option in AMOUNTS and isinstance(number, (int, float)) and not 0 < number <= MOST:
            raise UserError(f"expected {name}.{option} above 0 and up to {MOST:g}, got {value!r}", "give such a number")
    return checked


def user_cache_folder() -> Path:
    """`$VFC_CACHE_DIR`, else the folder `vfc` in the user's cache folder of this system."""
    named = os.environ.get("VFC_CACHE_DIR")
    if named:
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "vfc"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "vfc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vfc"
