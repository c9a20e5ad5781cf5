"""`vfc calibrate`: power and false-alarm curves of the adversaries, on known leaks and nulls."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from protocols.commands.output import printing
from protocols.engine.executors.processes import warm_up
from protocols.engine.settings import Settings
from reports.text.power_curves import show
from vfc.errors import UserError, unknown

if TYPE_CHECKING:
    from protocols.engine.workspace import Workspace

DATASETS = ("digits", "gaussian")
FILE = "calibration.json"


def run_calibrate(
    settings: Settings,
    datasets: Sequence[str],
    *,
    strengths: Sequence[float] = (),
    runs: int | None = None,
    write: bool = False,
) -> int:
    """Calibrate, save and show; finished cells are kept in the cache, so the same command resumes.

    Args:
        settings: budget, executor, threads, output folder.
        datasets: which; none means all.
        strengths: besides full strength; none means the budget's.
        runs: seeds at full strength, and at most of other strengths; None means the budget's.
        write: whether the shipped results are replaced, for the data sets that were run.

    Returns:
        0, or 1 if a known leak was missed at full strength, or nulls raised too many alarms.

    Raises:
        UserError: anything that the user must change.
    """
    if write and settings.budget == "smoke":
        raise UserError("expected --budget standard or full with --write, got smoke", "a subset is no calibration")
    for name in datasets:
        if name not in DATASETS:
            raise unknown("data set to calibrate on", name, DATASETS)
    if settings.executor == "processes":
        warm_up()

    from adversaries.calibration.shipped import SCHEMA, save
    from protocols.calibration.study import failures
    from protocols.engine.workspace import start_torch, workspace

    out = settings.out_folder("calibrate")
    asked = {"datasets": list(datasets), "strengths": list(strengths), "runs": runs}
    identity = {"verb": "calibrate", **asked, **settings.identity()}
    with workspace(settings, out, identity, start_torch(settings)) as place:
        measured = _measured(place, datasets or DATASETS, strengths, runs)
        results = {"schema": SCHEMA, "datasets": measured}
        _write(results, out / FILE)
        if write:
            try:
                save(results)
            except OSError as error:
                raise UserError(
                    f"cannot replace the shipped results: {error.strerror or error}", f"they are in {out / FILE}"
                ) from error
    broken = failures(results)
    with printing():
        if settings.verbosity >= 0:
            show(results, Console(highlight=False))
        for line in broken:
            sys.stdout.write(f"{line}\n")
    place.reporter.note(f"results: {out / FILE}")
    return 1 if broken else 0


def _measured(
    place: Workspace, datasets: Sequence[str], strengths: Sequence[float], runs: int | None
) -> dict[str, Any]:
    """The results of each data set, by its name."""
    from protocols.calibration.study import PLANS, bare, calibrate, prepare_calibration

    plan, found = PLANS[place.settings.budget].but(strengths, runs), {}
    for name in datasets:
        own = replace(place, settings=bare(place.settings, name))
        prepared = prepare_calibration(own.settings, own.trainer(), own.scratch / name)
        found[prepared.dataset.name] = calibrate(prepared, plan, place.runner, place.root / "cells" / "calibration")
        shutil.rmtree(own.scratch, ignore_errors=True)
    return found


def _write(results: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def settings_of(options: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings, and what this verb alone has: data sets, strengths and whether to replace the shipped results."""
    from protocols.commands.options.shared import settings_from

    own: dict[str, Any] = {name: tuple(options.pop(name, ()) or ()) for name in ("datasets", "strengths")}
    own |= {"runs": options.pop("runs", None), "write": bool(options.pop("write", False))}
    return replace(settings_from(options), release="identity"), own
