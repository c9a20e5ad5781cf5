"""What a shell completes behind an option or in the place of an argument: names of the registries, and paths.

Values stay what was typed: whether a file can be read is for the verb to say, in its own words. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import rich_click as click
from click.shell_completion import CompletionItem
from click.types import StringParamType

from protocols.commands.list import LISTINGS

PATHS = (
    "out", "config", "html", "junit", "sarif", "markdown", "csv", "json", "baseline", "report", "reports", "folder",
    "data_root", "guesses", "entries",
)  # fmt: skip
"""Parameters that take a path."""

_PROTOCOLS, _MODELS, _DEFENSES = LISTINGS["protocols"], LISTINGS["models"], LISTINGS["defenses"]
_NAMES: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "protocol": lambda _: [*_PROTOCOLS(), "all"],
    "dataset": lambda _: LISTINGS["datasets"](),
    "release": lambda _: _DEFENSES(),
    "target": lambda _: _MODELS(),
    "unintended": lambda _: _MODELS(),
    "kind": lambda _: LISTINGS,
    "name": lambda context: LISTINGS.get(str(context.params.get("kind")), dict)(),
}
"""Parameters that take a name, and which."""

_EITHER = ("dataset", "release", "target", "unintended")
"""Parameters that take a name or a path."""


class Completed(StringParamType):
    """Text that a shell knows how to complete."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin like this, and whether to look for files too."""
        look = _NAMES.get(str(param.name))
        named = look(ctx) if look is not None else ()
        found = [CompletionItem(name) for name in named if name.startswith(incomplete)]
        if str(param.name) in (*PATHS, *_EITHER):
            found.append(CompletionItem(incomplete, type="file"))
        return found


def with_completion(command: click.Command) -> None:
    """Let every plain text of a command, and of the verbs below it, be completed."""
    for parameter in command.params:
        if type(parameter.type) is StringParamType and parameter.name in {*PATHS, *_NAMES}:
            parameter.type = Completed()
    for verb in getattr(command, "commands", {}).values():
        with_completion(verb)
