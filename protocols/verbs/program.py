"""The program that verbs belong to."""

from __future__ import annotations

import errno
from typing import Any

import rich_click as click

from protocols.commands.options.config import check_variables
from protocols.commands.options.usage import placed
from vfc.errors import UserError
from vfc.version import VERSION

click.rich_click.TEXT_MARKUP = None  # "[default: 0]" is text, and no markup
click.rich_click.MAX_WIDTH = 110


class Verb(click.RichCommand):
    """A verb that answers for its own end, so that nothing inside it can pass for help that was read or interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb.

        Raises:
            UserError: an option is empty, or a variable of the environment sets nothing.
            RuntimeError: something tried to end the program, or a pipe other than standard output broke.
            Abort: the user interrupted it.
        """
        check_variables()
        for option in self.params:
            given = ctx.params.get(str(option.name))
            if isinstance(option, click.Option) and "" in (given if isinstance(given, (tuple, list)) else (given,)):
                raise UserError(f"expected a value of {option.opts[0]}, got an empty one", "give one, or leave it out")
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise placed(error, ctx) from error
        except KeyboardInterrupt:
            raise click.Abort from None
        except (SystemExit, OSError, EOFError) as error:
            if getattr(error, "errno", None) == errno.ENAMETOOLONG:
                raise UserError(f"cannot use a path: {error}", "shorten it") from error
            raise RuntimeError(f"vfc {self.name} did not come to its end") from error


class Program(click.RichGroup):
    """Verbs by name."""

    command_class = Verb


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="vfc")
def program() -> None:
    """What is left of a privacy defense when the attacker adapts?"""
