"""The command line. It never imports torch: each verb imports what it needs when it runs."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import rich_click as click

from protocols.commands.options.bench import BENCH
from protocols.commands.options.config import configured
from protocols.commands.options.leakage import LEAKAGE
from protocols.commands.options.numbers import FiniteRange
from protocols.commands.options.over_training import split_over_training
from protocols.commands.options.report import ACCEPT, FORMATS, GATE, PLAN, TABLE
from protocols.commands.options.shared import ATTACK, DATA, MODEL, RUN, settings_from, with_options
from protocols.commands.output import complain, guarded_streams, open_standard_streams, printing
from vfc.errors import NotApplicableError, UserError, unknown
from vfc.version import VERSION

HELD, USAGE, BUG, INTERRUPTED = 0, 2, 4, 130
_LINE = 4000
"""Characters of an error that are shown: what was typed may be longer than anybody reads."""

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.MAX_WIDTH = 110


class Verb(click.RichCommand):
    """A verb that answers for its own end, so that nothing inside it can pass for help that was read or interrupted."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb.

        Raises:
            UserError: an option is empty.
            RuntimeError: something tried to end the program, or a pipe other than standard output broke.
            Abort: the user interrupted it.
        """
        for option in self.params:
            given = ctx.params.get(str(option.name))
            if isinstance(option, click.Option) and "" in (given if isinstance(given, (tuple, list)) else (given,)):
                raise UserError(f"expected a value of {option.opts[0]}, got an empty one", "give one, or leave it out")
        try:
            return super().invoke(ctx)
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


@program.command()
@configured
@with_options(ATTACK, DATA, MODEL, RUN)
def attack(**options: Any) -> int:
    """Attack a release under declared threat models and judge the gates."""
    from protocols.commands.attack import run_attack

    passed = {name: value for name, value in options.items() if value is not None and value != ()}
    return run_attack(settings_from(options), passed, sys.argv)


@program.command()
@configured
@click.option("--defense", "release", help="Registered defense to train [default: vfc].")
@click.option(
    "--ablate", type=click.Choice(["mask", "decoder", "all"]), help="Train the variants of one choice, side by side."
)
@click.option(
    "--checkpoints",
    type=click.IntRange(0, 10_000),
    default=0,
    help="States of the target and of VFC that are kept, at log-spaced steps [default: 0].",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    default=1,
    help="Seeds that every variant of --ablate is trained with, from --seed up [default: 1].",
)
@with_options(DATA, MODEL, RUN)
def train(ablate: str | None, checkpoints: int, repeat: int, **options: Any) -> int:
    """Train a target model, a defense in front of it, and the unintended models of the attacker pool."""
    settings = settings_from(options)
    if ablate is not None:
        if checkpoints:
            raise UserError("expected no --checkpoints beside --ablate, got both", "leave one of them out")
        from protocols.commands.ablate import run_ablation

        return run_ablation(settings, ablate, repeat=repeat)
    if repeat > 1:
        raise UserError("expected --ablate beside --repeat, got --repeat alone", "add --ablate mask, say")
    from protocols.commands.train import run_train

    return run_train(settings, checkpoints=checkpoints)


@program.command()
@click.argument("report")
@with_options(GATE)
def gate(report: str, **options: Any) -> int:
    """Judge a report.json again, against limits, a policy, or an earlier report."""
    from protocols.commands.gate import run_gate

    return run_gate(report, options.pop("gates"), **options)


@program.command()
@click.argument("report")
@with_options(FORMATS)
def report(report: str, **files: str | None) -> int:
    """Write a report.json in other formats; without any, show it on the terminal."""
    from protocols.commands.report import run_report

    return run_report(report, {name: file for name, file in files.items() if file is not None})


@program.command()
@click.argument("reports", nargs=-1, required=True, metavar="OLD NEW [NEW...]")
def compare(reports: tuple[str, ...]) -> int:
    """Show what moved between reports, by how much, and whether that is noise."""
    from protocols.commands.compare import run_compare

    return run_compare(reports)


@program.command()
@click.argument("reports", nargs=-1, required=True, metavar="REPORT REPORT [REPORT...]")
@with_options(TABLE)
def predict(reports: tuple[str, ...], **files: str | None) -> int:
    """Correlate the attack-free numbers of many releases with what attacks measured."""
    from protocols.commands.predict import run_predict

    return run_predict(reports, {name: file for name, file in files.items() if file is not None})


@program.command()
@with_options(PLAN)
def plan(**options: Any) -> int:
    """Say how many targets gates need to be decidable."""
    from protocols.commands.plan import run_plan

    return run_plan(**options)


@program.group()
def baseline() -> None:
    """Keep the report that `vfc gate --baseline` compares with."""


@baseline.command()
@click.argument("report")
@with_options(ACCEPT)
def accept(report: str, reason: str, folder: str) -> int:
    """Make a report the baseline, and write down why."""
    from protocols.commands.baseline import run_accept

    return run_accept(report, reason, folder)


@program.command()
def schema() -> int:
    """Print the JSON Schema of report.json."""
    from protocols.commands.schema import run_schema

    return run_schema()


@program.command()
@click.option("--dataset", "datasets", multiple=True, help="digits or gaussian; repeatable [default: both].")
@click.option("--budget", type=click.Choice(["smoke", "standard", "full"]), help="How many runs [default: standard].")
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    type=FiniteRange(0, 1, min_open=True),
    help="Share of images that carry a leak, besides all of them; repeatable [default: the budget's].",
)
@click.option("--runs", type=click.IntRange(1, 9999), help="Seeds at full strength, of nulls [default: the budget's].")
@click.option("--write", is_flag=True, help="Replace the shipped results.")
@click.option("--show", is_flag=True, help="Show the shipped results, and measure nothing.")
@with_options(RUN)
def calibrate(show: bool, **options: Any) -> int:
    """Measure what the adversaries find, and how often they cry wolf, on known leaks and nulls."""
    if show:
        from protocols.commands.calibrate_show import run_show

        return run_show(options["datasets"])
    from protocols.commands.calibrate import run_calibrate, settings_of

    settings, own = settings_of(options)
    return run_calibrate(settings, **own)


@program.command()
@configured
@with_options(LEAKAGE, DATA)
def leakage(**options: Any) -> int:
    """Measure what the layers of a torch module let through, without any attack; or follow a training."""
    over, rest = split_over_training(options)
    from protocols.commands.leakage import run_leakage, split_options

    own, settings = split_options(rest)
    if over is None:
        return run_leakage(own, settings)
    from protocols.commands.over_training import run_overtraining

    return run_overtraining(own, over, settings)


@program.command()
@configured
@with_options(BENCH, DATA, MODEL, RUN)
def bench(defenses: str, sweep: bool, html: str | None, csv: str | None, **options: Any) -> int:
    """Put every defense under the same adversaries, and show what each costs and leaks in one table."""
    from protocols.commands.bench import BenchOptions, run_bench

    files = {form: file for form, file in (("html", html), ("csv", csv)) if file is not None}
    own = BenchOptions(defenses=defenses, sweep=sweep, files=files)
    passed = {name: value for name, value in options.items() if value is not None and value != ()}
    return run_bench(settings_from(options), own, {**passed, "defenses": defenses, "sweep": sweep}, sys.argv)


@program.command("list")
@click.argument("kind", required=False)
@click.argument("name", required=False)
def list_(kind: str | None, name: str | None) -> int:
    """List protocols, adversaries, defenses, datasets, models or metrics, or show the card of one."""
    from protocols.commands.list import run_list

    return run_list(kind, name)


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
            return _refused(called, _usage(error))
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
        result = attack.main(arguments[1:], prog_name=called, standalone_mode=False, help_option_names=names)
    else:
        result = program.main(arguments or ["--help"], prog_name=called, standalone_mode=False)
    return result if isinstance(result, int) else HELD


def _usage(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        known = [name for p in error.ctx.command.params for name in p.opts if name.startswith("--")]
        return str(unknown("option", error.option_name, known))
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and message.startswith("No such command"):
        return str(unknown("command", message.split("'")[1], program.commands))
    return message


def _refused(called: str, text: str) -> int:
    line = "".join(c if c.isprintable() else "?" for c in text)
    complain(f"{called}: error: {line if len(line) <= _LINE else line[:_LINE] + '...'}\n")
    return USAGE


if __name__ == "__main__":
    main()
