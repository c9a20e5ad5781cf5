"""The options of `vfc leakage` beside those of the data. Imports no torch."""

from __future__ import annotations

import rich_click as click

from protocols.commands.options.numbers import FiniteRange
from protocols.commands.options.over_training import OVER_TRAINING

LEAKAGE = (
    click.option("--model", metavar="FACTORY", help="mypkg:build or path/to/file.py:build."),
    click.option("--layers", multiple=True, metavar="'PATTERN'", help="Layers [default: the outermost]; repeatable."),
    click.option("--images", type=click.IntRange(3, 10**7), help="Images for degrees of freedom [default: 256]."),
    click.option("--samples", type=click.IntRange(2, 10**7), help="Images whose Jacobians are computed [default: 8]."),
    click.option("--method", type=click.Choice(["auto", "exact", "sketch"]), help="How spectra are computed."),
    click.option("--memory", type=FiniteRange(0.01, 2**20), help="Gibibytes that may be used [default: 1]."),
    click.option("--straight-through", is_flag=True, default=None, help="Count rounding steps as the identity."),
    *OVER_TRAINING,
    click.option(
        "--seed", type=click.IntRange(0, 2**63 - 1), envvar="VFC_SEED", help="Seed of everything [default: 0]."
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        envvar="VFC_DEVICE",
        help="Where to compute [default: auto].",
    ),
    click.option(
        "--threads", type=click.IntRange(1, 1024), envvar="VFC_THREADS", help="Arithmetic threads [default: 1]."
    ),
    click.option("--out", envvar="VFC_OUT", help="Folder to write to [default: runs/leakage-<digest>]."),
    click.option("--fresh/--resume", "fresh", default=None, help="Discard what --out holds, or use it again."),
    click.option("--config", help="Config file [default: vfc.toml, or [tool.vfc] in pyproject.toml]."),
    click.option("--quiet/--verbose", "quiet", default=None, help="Say less or more."),
)
OWN = ("model", "layers", "images", "samples", "method", "memory", "straight_through")
"""Options of this verb alone."""
