"""`vfc suite`: freeze a bench for outsiders, list what is frozen, and check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocols.commands.output import printing
from protocols.engine.settings import Settings
from reports.studies.suite.manifest import MANIFEST, Suite, check_name, open_suite, suites_folder
from vfc.errors import UserError

PROTOCOLS = ("adaptive-probe", "attribute")
"""Our own attacks on a suite: those whose goals guesses can have."""


def run_make(settings: Settings, name: str, defenses: str, passed: dict[str, Any], argv: Sequence[str]) -> int:
    """Grade every defense, freeze its releases, and seal the suite.

    Args:
        settings: of our own attacks, as for a bench.
        name: of the suite, with its version.
        defenses: names with commas between them.
        passed, argv: the command, for the record.

    Returns:
        0; 3 if a defense that applies could not be frozen, or one of its adversaries was not measured.

    Raises:
        UserError: anything that the user must change; finished rows are kept.
    """
    from protocols.bench.grading import Grader
    from protocols.bench.plan import names_of, placed_in, planned, specs_of, with_attributes
    from protocols.bench.study import Study
    from protocols.engine.budget import get_budget
    from protocols.engine.executors.base import LocalExecutor
    from protocols.engine.executors.processes import warm_up
    from protocols.engine.outside.families import Families
    from protocols.engine.prepare import data_of
    from protocols.engine.prepared import Prepared
    from protocols.engine.provenance import code_digest
    from protocols.engine.workspace import start_torch, workspace
    from protocols.evaluation.overrides import check_overrides
    from protocols.suite.freezing import Freezer
    from protocols.suite.making import FROZEN, NEEDS, Maker, check_out
    from vfc.factory import ReleaseSpec

    check_name(name)
    out = Path(settings.out) if settings.out else suites_folder() / name
    check_out(out, fresh=settings.fresh)
    settings = replace(settings, dataset=settings.dataset or _dataset_of(name), out=None)
    specs = specs_of(names_of(defenses))
    check_overrides(settings, PROTOCOLS)
    if settings.executor == "processes":
        warm_up()
    device = start_torch(settings)
    nobody = ReleaseSpec(kind="registered", text="", source="")
    settings, dataset, parts = data_of(replace(settings, release="", protocols=PROTOCOLS), nobody)
    settings = with_attributes(settings, dataset)
    Families.of(settings, dataset)  # says now what would fail every row
    grid = tuple(count for count in get_budget(settings.budget).labels if isinstance(count, int))
    freezer = Freezer(
        suite=name, seed=settings.seed, labels=grid, attributes=settings.attributes or tuple(dataset.attributes)
    )

    def keep(prepared: Prepared, folder: Path) -> None:
        freezer.freeze(prepared, folder / FROZEN)

    grader = Grader(dataset=dataset, parts=parts, device=device, passed=passed, argv=argv, keep=keep)
    work = out.parent / f".{out.name}.work"
    identity = {"verb": "suite", "suite": name, **settings.identity()}
    with workspace(settings, work, identity, device, LocalExecutor()) as place:
        study = Study(
            rows=[placed_in(row, work) for row in planned(settings, specs, dataset, sweep=False, protocols=PROTOCOLS)],
            out=work,
            code=code_digest(device, settings.threads),
            grade=grader.grade,
            reporter=place.reporter,
            needs=NEEDS,
        )
        entries = study.conduct()
        maker = Maker(name=name, out=out, labels=grid, seed=settings.seed, budget=settings.budget)
        suite = maker.assemble(work, entries)
        place.reporter.note(f"frozen in {suite.folder}")
    _show([suite])
    wanted = [each.status for each in suite.manifest.defenses.values() if each.status != "not applicable"]
    return 0 if wanted and all(status == "measured" for status in wanted) else 3


def run_list_suites() -> int:
    """Print a line for each suite in the user's cache folder, and return 0."""
    import sys

    found = [open_suite(str(file.parent)) for file in sorted(suites_folder().glob(f"*/{MANIFEST}"))]
    if not found:
        with printing():
            sys.stdout.write(f"no suites in {suites_folder()}\n")
        return 0
    _show(found)
    return 0


def run_verify_suite(named: str) -> int:
    """Check every file of a suite against its manifest, and return 0.

    Raises:
        UserError: there is no such suite, or a file of it is missing, damaged or too many.
    """
    import sys

    suite = open_suite(named)
    suite.verify()
    with printing():
        about = suite.manifest
        sys.stdout.write(f"{about.name} is whole: {len(about.files)} files, digest {about.digest}\n")
    return 0


def _dataset_of(name: str) -> str:
    """The data set that a suite is named after.

    Raises:
        UserError: it is named after none.
    """
    from vfc.registries import DATASETS

    word = name.rpartition("-")[0]
    if word not in DATASETS.cards:
        raise UserError(f"expected --dataset for the suite {name!r}, which is named after none, got none", "name one")
    return word


def _show(found: Sequence[Suite]) -> None:
    from rich.console import Console

    from reports.studies.suite.tables import render_suites

    with printing():
        render_suites(found, Console(highlight=False))
