"""`vfc calibrate --show`: what is shipped of the calibration. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from adversaries.calibration.shipped import load
from protocols.commands.output import printing
from reports.text.power_curves import show
from vfc.errors import unknown


def run_show(datasets: Sequence[str]) -> int:
    """Show the shipped results.

    Args:
        datasets: of which data sets; none means all.

    Raises:
        UserError: nothing is shipped of such a data set.
    """
    shipped = load()["datasets"]
    for name in datasets:
        if name not in shipped:
            raise unknown("calibrated data set", name, shipped)
    with printing():
        show({"datasets": {name: shipped[name] for name in datasets or shipped}}, Console(highlight=False))
    return 0
