"""Mistakes on the command line, in one line. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable

import rich_click as click
from click.core import ParameterSource

from protocols.commands.options.shared import CONFIG_FILE
from vfc.errors import unknown


def usage(error: click.ClickException, commands: Iterable[str]) -> str:
    """What click says of a mistake, in one line, with what exists and where a bad value was read.

    Args:
        error: click's.
        commands: all verbs.
    """
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        known = [name for p in error.ctx.command.params for name in p.opts if name.startswith("--")]
        return str(unknown("option", error.option_name, known))
    message = " ".join(error.format_message().split()) + _origin(error)
    if isinstance(error, click.UsageError) and message.startswith("No such command"):
        return str(unknown("command", message.split("'")[1], commands))
    return message


def _origin(error: click.ClickException) -> str:
    """Where a bad value was read that nobody typed."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None or not error.param.name:
        return ""
    source = error.ctx.get_parameter_source(error.param.name)
    if source is ParameterSource.DEFAULT_MAP:
        return f" (in {error.ctx.meta.get(CONFIG_FILE, 'the config file')})"
    return f" (from {error.param.envvar})" if source is ParameterSource.ENVIRONMENT else ""
