"""The command line. It never imports torch: each verb imports what it needs when it runs."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import rich_click as click

from protocols.commands.options.completion import with_completion
from protocols.commands.options.usage import usage
from protocols.commands.output import complain, guarded_streams, open_standard_streams, printing
from protocols.verbs import looking, reading, running, suite
from protocols.verbs.program import program
from vfc.errors import NotApplicableError, UserError

VERBS = (running, reading, suite, looking)
"""Whose import puts their verbs into the program."""
with_completion(program)

HELD, USAGE, BUG, INTERRUPTED = 0, 2, 4, 130
_LINE = 4000
"""Characters of an error that are shown: what was typed may be longer than anybody reads."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `vfc`: runs and exits with the code of the contract."""
    open_standard_streams()
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def main_attack() -> None:
    """Entry point of `vfc-attack`: the same as `vfc attack`."""
    open_standard_streams()
    sys.exit(run(["attack", *sys.argv[1:]], called="vfc-attack"))


def run(arguments: list[str], called: str = "vfc") -> int:
    """Run a command line and return its exit code; user mistakes are one line on standard error."""
    with guarded_streams():
        try:
            with printing():
                return _parsed(arguments, called)
        except UserError as error:
            return _refused(called, str(error))
        except NotApplicableError as reason:  # a defense that has no meaning for this target, nte for instance
            return _refused(called, f"not applicable here: {reason}")
        except click.ClickException as error:
            return _refused(called, usage(error, program.commands))
        except SystemExit as ended:
            # Completion, and help that stands in for a missing verb, end in this way before any verb has run.
            return USAGE if ended.code else HELD
        except (KeyboardInterrupt, click.Abort):
            complain("\ninterrupted; what was finished is saved, the same command resumes\n")
            return INTERRUPTED
        except BaseException:  # whatever is left would end in Python's own exit code, which says "broken"
            complain(
                f"{traceback.format_exc()}{called}: this is a bug in {called}; please report it with the lines above\n"
            )
            return BUG
        return HELD  # the reader of help went away


def _parsed(arguments: list[str], called: str) -> int:
    for text in arguments:
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(f"expected readable text, got {ascii(text)[:200]}", "give it in the terminal's encoding")
    if called == "vfc-attack":
        names = program.context_settings["help_option_names"]
        result = running.attack.main(arguments[1:], prog_name=called, standalone_mode=False, help_option_names=names)
    else:
        result = program.main(arguments or ["--help"], prog_name=called, standalone_mode=False)
    return result if isinstance(result, int) else HELD


def _refused(called: str, text: str) -> int:
    line = "".join(c if c.isprintable() else "?" for c in text)
    complain(f"{called}: error: {line if len(line) <= _LINE else line[:_LINE] + '...'}\n")
    return USAGE


if __name__ == "__main__":
    main()
