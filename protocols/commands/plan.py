"""`vfc plan`: how many target images gates need to be decidable. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from protocols.commands.output import printing
from reports.gate.gate import Gate
from reports.gate.plan import plan
from reports.model.catalog import check_limit
from reports.model.storage import load, load_rows
from vfc.errors import UserError


def run_plan(gates: Sequence[str], report: str | None, assume: Sequence[str], power: float, confidence: float) -> int:
    """Print a plan for every gate; 3 if one of them cannot be decided with any number of target images, else 0.

    Raises:
        UserError: a gate, an assumption or the report cannot be used.
    """
    parsed = [Gate.parse(text) for text in gates]
    if not 0.5 < confidence < 1:
        raise UserError(f"expected a confidence in (0.5, 1), got {confidence!r}", "for instance --confidence 0.95")
    assumed = dict(map(_assumption, assume))
    for gate in parsed:
        check_limit(gate.metric, gate.number, assumed.get("floor"))
    loaded = load(report) if report is not None else None
    rows = load_rows(report, loaded) if report is not None and loaded is not None else None
    plans = plan(parsed, assumed, loaded, rows, power, 1 - confidence)
    with printing():
        for found in plans:
            if found.targets is None:
                sys.stdout.write(f"{found.gate.text}: cannot be planned: {found.reason}; assumed {found.assumed}\n")
            else:
                sys.stdout.write(
                    f"{found.gate.text}: {found.targets:,} target images, then it is {found.outcome} with probability "
                    f"{power:g}; assumed {found.assumed}; {found.reason}\n"
                )
        if len(parsed) > 1:
            sys.stdout.write(f"The {len(parsed)} gates share the level, so each is judged more strictly.\n")
    return 0 if all(found.targets is not None for found in plans) else 3


def _assumption(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        if not number.isascii() or "_" in number:
            raise ValueError(number)
        return name.strip(), float(number)
    except ValueError:
        shown = text if equals else f"{text} without ="
        raise UserError(f"expected --assume NAME=VALUE, got {shown!r}", "for instance floor=0.1") from None
