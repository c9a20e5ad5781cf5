"""The options that long verbs share, and how they become `Settings`. Imports no torch.

Precedence: command line, environment (`VFC_*`), config file, preset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import rich_click as click

from protocols.commands.options.gates import split_gates
from protocols.commands.options.numbers import FiniteRange
from protocols.engine.budget import BUDGETS
from protocols.engine.settings import EXECUTORS, SPLITS, Settings, parse_override
from reports.gate.presets import PRESETS

F = TypeVar("F", bound=Callable[..., Any])


def _option(*names: str, **options: Any) -> Callable[[F], F]:
    """A click option that also reads `VFC_<NAME>`."""
    long = next(name for name in names if name.startswith("--")).split("/")[0]
    environment = "VFC_" + long.removeprefix("--").replace("-", "_").upper()
    return click.option(*names, envvar=environment, show_envvar=False, **options)


DATA = (
    _option("--dataset", help="digits, cifar10, npz:PATH, folder:PATH or another of `vfc list datasets`."),
    _option("--data-root", help="Folder that holds downloaded data sets."),
    _option("--download", is_flag=True, default=None, help="Allow downloading; nothing else ever downloads."),
    _option("--task", help="Label that the target predicts [default: the first label]."),
    _option("--attribute", multiple=True, help="Private attribute [default: all other labels]; repeatable."),
    _option("--label", multiple=True, help="Derived label, as living=label:2,3,4 or group=age:<18,<40,>=40."),
    _option(
        "--split",
        type=click.Choice(SPLITS),
        help="paper: both sides get all training data; the attacker holds a fifth out to choose by.",
    ),
    _option(
        "--split-seed",
        type=click.IntRange(0),
        help="Salt of the split: who owns which images [default: the run folder's, else the seed].",
    ),
)
MODEL = (
    _option("--target", help="Target model: architecture, FILE.safetensors or mypkg:build [default: cnn]."),
    _option("--unintended", multiple=True, help="Unintended model, likewise; repeatable, or a list with commas."),
    _option("--width", type=FiniteRange(0.05, 4), help="Channel multiplier of all models."),
)
RUN = (
    _option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of everything [default: 0]."),
    _option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to compute [default: auto]."),
    _option("--threads", type=click.IntRange(1, 1024), help="Arithmetic threads of each fit [default: 1]."),
    _option("--out", help="Folder to write to [default: runs/<name>-<digest>]."),
    _option("--resume/--fresh", default=None, help="Reuse or discard what --out holds [default: --resume]."),
    _option("--no-cache", is_flag=True, default=None, help="Neither read nor write the cache of trained parts."),
    _option(
        "--executor",
        type=click.Choice(EXECUTORS),
        help="Where jobs run [default: auto: here while the work is small, then in processes].",
    ),
    _option("--workers", type=click.IntRange(1, 1024), help="Worker processes [default: one per core]."),
    _option("--ray-address", help="Running Ray cluster [default: $RAY_ADDRESS, else one on this machine]."),
    _option("--job-limit", type=FiniteRange(0.001, 1e8), help="Seconds a job of a worker may take [default: 43200]."),
    _option("--fit-limit", type=FiniteRange(0.001, 1e8), help="Seconds a defense may be fitted [default: 7200]."),
    _option("--call-limit", type=FiniteRange(0.001, 1e8), help="Seconds any other call of it may take [default: 600]."),
    _option(
        "--set",
        "overrides",
        multiple=True,
        metavar="NAME.OPTION=VALUE",
        help="Option of an adversary, of the defense, or of training; repeatable.",
    ),
    _option("--config", help="Config file [default: vfc.toml, or [tool.vfc] in pyproject.toml]."),
    _option("--quiet/--verbose", "quiet", default=None, help="Say less or more."),
)
WHAT = (
    _option(
        "--release", help="Registered defense, run folder, factory module:function, or saved arrays [default: vfc]."
    ),
    _option("--protocol", multiple=True, help="Protocol (vfc list), or all; repeatable [default: adaptive-probe]."),
    _option("--threat", help="Highest level of knowledge, L0 to L5 [default: the protocol's]."),
    _option("--seeds", type=click.IntRange(1, 1000), help="Attack seeds [default: the budget's]."),
    _option("--budget", type=click.Choice(list(BUDGETS)), help="How much to spend [default: standard]."),
)
ATTACK = (
    *WHAT,
    _option("--gate", multiple=True, metavar="'METRIC OP NUMBER'", help="Fail unless this holds; repeatable."),
    _option(
        "--no-isolation",
        is_flag=True,
        default=None,
        help="Run the defender's code in this process, for debuggers; it may then remember what it published.",
    ),
    _option("--gates", "preset", type=click.Choice(PRESETS), help="Ready-made gates [default: none]."),
    _option(
        "--accept-secret",
        "accept",
        multiple=True,
        metavar="KIND",
        help="Accept a declared secret of that kind.",
    ),
)


CONFIG_FILE = "vfc.config_file"
"""Key of click's context under which the name of the config file stands."""

CONFIGURED = "vfc.configured"
"""Key of click's context under which the `set` table of the config file waits."""


def with_options(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """Add groups of options to a command, in the order in which help shows them."""

    def decorate(function: F) -> F:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def settings_from(options: dict[str, Any]) -> Settings:
    """`Settings` from parsed options; an option that nobody gave keeps its default."""
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    quiet = given.pop("quiet", None)
    resume = given.pop("resume", None)
    renamed = {"protocol": "protocols", "attribute": "attributes", "label": "labels", "gate": "gates"}
    values = {renamed.get(name, name): value for name, value in given.items()}
    context = click.get_current_context(silent=True)
    last = dict(context.meta.get(CONFIGURED, {})) if context is not None else {}
    # Of several for one option the last counts, as with every other option.
    last |= dict(parse_override(text) for text in values.pop("overrides", ()))
    values["overrides"] = tuple((key, last[key]) for key in sorted(last))
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    if "unintended" in values:
        words = [word.strip() for text in values["unintended"] for word in text.split(",")]
        values["unintended"] = tuple(word for word in words if word)
    values["gates"], values["preset"] = split_gates(values.get("gates", ()), values.get("preset"))
    return Settings(
        **values,
        fresh=resume is False,
        verbosity={None: 0, True: -1, False: 1}[quiet],
    )
