"""`vfc bench`: every defense under the same adversaries on one data set, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversaries.threat import parse_level
from protocols.commands.output import printing
from protocols.engine.executors.base import LocalExecutor
from protocols.engine.executors.processes import warm_up
from protocols.engine.settings import Settings, digest_of
from reports.model.files import write_all
from reports.studies.bench.data import Bench, bench_of

if TYPE_CHECKING:
    from protocols.engine.workspace import Workspace

STEM = "bench"


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What only this verb has.

    Args:
        defenses: names with commas between them.
        sweep: grade the defenses that declare a grid at every point of it.
        files: where formats go besides the bench's folder, by format.
        names: what rows are called, by what `defenses` says of them.
    """

    defenses: str
    sweep: bool
    files: Mapping[str, str]
    names: Mapping[str, str] = field(default_factory=dict)


def run_bench(settings: Settings, options: BenchOptions, passed: dict[str, Any], argv: Sequence[str]) -> int:
    """Grade every row, write the table, and show it; arguments and errors as for `measure_bench`.

    Returns:
        0; 3 if a row failed, if an adversary was not measured, or if no row applies.
    """
    bench, place = measure_bench(settings, options, passed, argv)
    with printing():
        _tell(bench, settings)
    place.reporter.note(f"drawn in {place.out / STEM}.html")
    return 0 if bench.complete else 3


def measure_bench(
    settings: Settings, options: BenchOptions, passed: dict[str, Any], argv: Sequence[str]
) -> tuple[Bench, Workspace]:
    """Grade every row and write the table.

    Raises:
        UserError: anything that the user must change; finished rows are kept.
    """
    if settings.threat is not None:
        parse_level(settings.threat)
    if settings.executor == "processes":
        warm_up()

    from protocols.bench.grading import Grader
    from protocols.bench.plan import (
        PROTOCOLS,
        names_of,
        placed_in,
        planned,
        specs_of,
        with_attributes,
        with_levels,
    )
    from protocols.bench.study import Study
    from protocols.bench.tuning import FILE, keep, with_choice
    from protocols.engine.outside.families import Families
    from protocols.engine.prepare import data_of
    from protocols.engine.provenance import code_digest
    from protocols.engine.workspace import start_torch, workspace
    from protocols.evaluation.overrides import check_overrides
    from vfc.factory import ReleaseSpec

    specs = specs_of(names_of(options.defenses, variants=True))
    check_overrides(settings, PROTOCOLS)
    device = start_torch(settings)
    nobody = ReleaseSpec(kind="registered", text="", source="")
    settings, dataset, parts = data_of(replace(settings, release="", protocols=PROTOCOLS), nobody)
    settings = with_levels(with_attributes(settings, dataset))
    Families.of(settings, dataset)  # says now what would fail every row
    rows = planned(settings, specs, dataset, sweep=options.sweep, names=options.names)
    identity = {"verb": STEM, **settings.identity()}
    out = Path(settings.out) if settings.out else Path("runs") / f"{STEM}-{digest_of(identity)[:8]}"
    hidden = settings.attributes or tuple(dataset.attributes)
    tune = partial(keep, hidden=hidden) if options.sweep else None
    grader = Grader(dataset=dataset, parts=parts, device=device, passed=passed, argv=argv, keep=tune)
    with workspace(settings, out, identity, device, LocalExecutor()) as place:
        study = Study(
            rows=[placed_in(row, out) for row in rows],
            out=out,
            code=code_digest(device, settings.threads),
            grade=grader.grade,
            reporter=place.reporter,
            needs=(FILE,) if options.sweep else (),
        )
        bench = bench_of(
            with_choice(study.conduct(), out),
            dataset=dataset.name,
            task=parts.task,
            targets=len(parts.targets),
            budget=settings.budget,
            threat=settings.threat,
        )
        _write(bench, out, options.files)
    return bench, place


def _write(bench: Bench, out: Path, files: Mapping[str, str]) -> None:
    """The page and the table, in the bench's folder and wherever they were asked for."""
    from reports.studies.bench.page import render_bench_html
    from reports.studies.bench.tables import csv_bench

    texts = {"html": render_bench_html(bench).encode(), "csv": csv_bench(bench).encode()}
    write_all(
        {out / f"{STEM}.{form}": text for form, text in texts.items()}
        | {Path(file): texts[form] for form, file in files.items()}
    )


def _tell(bench: Bench, settings: Settings) -> None:
    """Show the table on standard output; nothing when quiet."""
    if settings.verbosity < 0:
        return
    from rich.console import Console

    from reports.studies.bench.tables import render_bench

    render_bench(bench, Console(highlight=False))
