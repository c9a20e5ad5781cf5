"""Mistakes on the command line, in one line. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import rich_click as click
from click.core import ParameterSource

from protocols.commands.options.shared import CONFIG_FILE, CONFIGURED
from vfc.errors import UserError, unknown


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


def placed(error: UserError, context: click.Context) -> UserError:
    """The error with the config file or the variable in which the name stands that it is about, where nobody typed it.

    Args:
        error: of a verb.
        context: of the verb, with its options.
    """
    for place, phrase in _said(context):
        if phrase in error.what and place.strip(" ()") not in error.what:
            return UserError(error.what + place, error.fix)
    return error


def _said(context: click.Context) -> Iterator[tuple[str, str]]:
    """How errors speak of what nobody typed: names are quoted, paths are told from words by their signs."""
    for option in context.command.params:
        value = context.params.get(str(option.name))
        if not (place := _place(context, option)):
            continue
        texts = [str(text) for text in (value if isinstance(value, (list, tuple)) else (value,))]
        for word in (word.strip() for text in texts for word in (text, *text.split(","))):
            yield place, repr(word)
            if set("./:") & set(word):
                yield place, word
    typed = {str(text).partition("=")[0].strip() for text in context.params.get("overrides") or ()}
    for key in context.meta.get(CONFIGURED, {}).keys() - typed:
        name, _, option = key.partition(".")
        for phrase in (key, f"of {name} {option!r}", f"in --set {name!r}"):
            yield _in_file(context), phrase


def _origin(error: click.ClickException) -> str:
    """Where a bad value was read that nobody typed."""
    if not isinstance(error, click.BadParameter) or error.ctx is None or error.param is None or not error.param.name:
        return ""
    return _place(error.ctx, error.param)


def _place(context: click.Context, option: click.Parameter) -> str:
    """Where an option's value was read; empty for one that was typed, and for a default."""
    source = context.get_parameter_source(str(option.name))
    if source is ParameterSource.DEFAULT_MAP:
        return _in_file(context)
    return f" (from {option.envvar})" if source is ParameterSource.ENVIRONMENT else ""


def _in_file(context: click.Context) -> str:
    return f" (in {context.meta.get(CONFIG_FILE, 'the config file')})"
