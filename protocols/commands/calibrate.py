"""`vfc calibrate`: power and false-alarm curves of the adversaries, on known leaks and nulls."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from protocols.commands.output import printing
from protocols.engine.executors import make_executor, warm_up
from protocols.engine.folder import claimed
from protocols.engine.progress import Reporter
from protocols.engine.settings import Settings
from reports.text.power_curves import show
from vfc.errors import UserError, unknown

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

    reporter = Reporter(quiet=settings.verbosity < 0, verbose=settings.verbosity > 0)
    out = settings.out_folder("calibrate")
    asked = {"datasets": list(datasets), "strengths": list(strengths), "runs": runs}
    with claimed(out, {"verb": "calibrate", **asked, **settings.identity()}, fresh=settings.fresh):
        reporter.note(f"writing to {out}")
        measured = _measured(settings, datasets or DATASETS, strengths, runs, out, reporter)
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
    reporter.note(f"results: {out / FILE}")
    return 1 if broken else 0


def _measured(
    settings: Settings,
    datasets: Sequence[str],
    strengths: Sequence[float],
    runs: int | None,
    out: Path,
    reporter: Reporter,
) -> dict[str, Any]:
    """The results of each data set, by its name."""
    import torch

    from protocols.calibration.study import PLANS, bare, calibrate, prepare_calibration
    from protocols.engine.provenance import code_digest
    from protocols.engine.task_runner import TaskRunner
    from protocols.engine.trainer import Trainer, pick_device
    from vfc.data import user_cache_folder

    torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    plan = PLANS[settings.budget].but(strengths, runs)
    root = out if settings.no_cache else user_cache_folder()
    executor = make_executor(settings.executor, workers=settings.workers, threads=settings.threads, device=device)
    runner = TaskRunner(code=code_digest(device, settings.threads), executor=executor, reporter=reporter)
    found = {}
    try:
        for name in datasets:
            scratch = out / ".work" / name
            own = bare(settings, name)
            trainer = Trainer(own, device, root / "trained", scratch, executor, reporter)
            prepared = prepare_calibration(own, trainer, scratch)
            found[prepared.dataset.name] = calibrate(prepared, plan, runner, root / "cells" / "calibration")
    finally:
        executor.close()
    return found


def _write(results: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(results, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def settings_of(options: dict[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Settings, and what this verb alone has: data sets, strengths and whether to replace the shipped results."""
    from protocols.commands.options.shared import settings_from

    own: dict[str, Any] = {name: tuple(options.pop(name, ()) or ()) for name in ("datasets", "strengths")}
    own |= {"runs": options.pop("runs", None), "write": bool(options.pop("write", False))}
    return replace(settings_from(options), release="identity"), own
