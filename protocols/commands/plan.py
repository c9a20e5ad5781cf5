"""`vfc plan`: how many target images gates need to be decidable (imports no torch), and what a run will take."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocols.commands.output import printing
from reports.gate.gate import Gate
from reports.gate.plan import plan
from reports.model.catalog import check_limit
from reports.model.storage import load, load_rows, refuse_partial
from vfc.errors import UserError


def run_plan(
    gates: Sequence[str],
    report: str | None,
    assume: Sequence[str],
    power: float,
    confidence: float,
    run: Mapping[str, Any],
) -> int:
    """Print a plan of a run, if options of one are given, and one for every gate.

    Returns:
        3 if a gate cannot be decided with any number of target images, else 0.

    Raises:
        UserError: there is nothing to plan, or a gate, an assumption, the report or the run's options cannot be used.
    """
    if not gates and not run:
        raise UserError(
            "expected something to plan, got nothing", "give --gate, or --release and what else a run is given"
        )
    if run:
        line = _run(dict(run))
        with printing():
            sys.stdout.write(f"{line}\n")
    return _gates(gates, report, assume, power, confidence) if gates else 0


def _run(options: dict[str, Any]) -> str:
    """What a run takes, in a line; measures this machine where that is not known yet."""
    from protocols.commands.attack import protocol_names
    from protocols.commands.options.shared import settings_from
    from protocols.engine.budget import get_budget
    from protocols.engine.folder import load_run
    from protocols.engine.outside.families import Families
    from protocols.engine.prepare import data_of
    from protocols.engine.provenance import code_digest
    from protocols.engine.workspace import start_torch
    from protocols.evaluation.forecast import calibrated_costs, forecast
    from protocols.evaluation.plan import competing, private, said, shape_of
    from vfc.config import user_cache_folder
    from vfc.datasets.saved_arrays import read_arrays
    from vfc.factory import resolve

    settings = settings_from(options)
    names, device = protocol_names(settings.protocols), start_torch(settings)
    spec = resolve(settings.release)
    settings, dataset, parts = data_of(replace(settings, protocols=names), spec)
    families, release, images = None, tuple(dataset.shape), True
    if spec.kind == "arrays":
        arrays = read_arrays(Path(spec.source))
        release, images = tuple(arrays["release"].shape[1:]), "image" in arrays
    if spec.kind == "folder":
        families = Families.of_run(load_run(Path(spec.source)))
    elif images:
        families = Families.of(settings, dataset)
    shape = shape_of(parts, dataset, families, release, images=images)
    twin, attributes = None if families is None else families.twin, private(settings, dataset)
    candidates = [each for name in names for each in competing(name, settings, list(shape.models), twin, attributes)]
    code = code_digest(device, settings.threads)
    costs = calibrated_costs(shape, candidates, code, user_cache_folder())
    found = forecast(shape, candidates, get_budget(settings.budget), len(settings.attack_seeds()), costs)
    guessed = "" if spec.kind == "arrays" else " (releases are taken to have the images' shape)"
    return f"run: {said(found, settings, device)}{guessed}"


def _gates(gates: Sequence[str], report: str | None, assume: Sequence[str], power: float, confidence: float) -> int:
    parsed = [Gate.parse(text) for text in gates]
    if not 0.5 < confidence < 1:
        raise UserError(f"expected a confidence in (0.5, 1), got {confidence!r}", "for instance --confidence 0.95")
    assumed = dict(map(_assumption, assume))
    for gate in parsed:
        check_limit(gate.metric, gate.number, assumed.get("floor"))
    loaded = load(report) if report is not None else None
    if loaded is not None:
        refuse_partial(loaded, "to plan from")
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
