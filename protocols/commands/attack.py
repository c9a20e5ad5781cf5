"""`vfc attack`: prepare, attack, judge, write, tell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from adversaries.registries import ADVERSARIES
from adversaries.threat import parse_level
from protocols.commands.options.policy import policy_of, said_in
from protocols.commands.output import printing
from protocols.engine.budget import RADII, get_budget
from protocols.engine.executors.processes import warm_up
from protocols.engine.progress import Reporter
from protocols.engine.settings import Settings
from protocols.evaluation.registry import PROTOCOLS
from reports.gate.gate import check_gates
from reports.gate.policy import Policy
from reports.gate.verdict import exit_code, verdict
from reports.model.files import REPORT
from reports.model.report import Report
from reports.model.storage import sealed, write
from reports.text.findings import missing_lines
from vfc.errors import UserError, unknown


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a run ends with.

    Args:
        report: judged, and on disk.
        rows: the arrays of its sidecar.
        policy: what it was judged by.
        out: its folder.
        reporter: tells the user.
    """

    report: Report
    rows: dict[str, Any]
    policy: Policy
    out: Path
    reporter: Reporter


def run_attack(settings: Settings, passed: dict[str, Any], argv: Sequence[str]) -> int:
    """Run the protocols, show the report, and return the exit code; arguments and errors as for `measure`."""
    found = measure(settings, passed, argv, partial=True)
    report, policy = found.report, found.policy
    with printing():
        tell(report, settings, found.rows)
        for line in () if settings.verbosity < 0 else missing_lines(report, policy.required, gated=bool(policy.rules)):
            sys.stdout.write(f"{line}\n")
    took = (report.provenance.duration_s or 0.0) / 60
    found.reporter.note(f"report: {found.out / 'report.json'}, after {took:.2g} minutes")
    return exit_code(report.verdict, report.status)


def measure(settings: Settings, passed: dict[str, Any], argv: Sequence[str], *, partial: bool = False) -> Measured:
    """Run the protocols, judge the report and write it.

    Args:
        settings: what was asked for.
        passed: the options that were given, for the record.
        argv: the command line, for the record.
        partial: whether an interruption of the attacks ends with a report of what is finished, which is marked so.

    Raises:
        UserError: anything that the user must change; finished cells are kept.
    """
    started = datetime.now(UTC)
    names = protocol_names(settings.protocols)
    labelled = settings.threat is None or parse_level(settings.threat) >= "L2"
    grid = get_budget(settings.budget).labels if labelled else ()
    policy = policy_of(settings.config, settings.preset)
    with said_in(settings.config):
        check_required(policy)
        check_gates(policy.gates, names, grid=grid, budgets=RADII)
    policy = policy.adding(settings.gates).accepting(settings.accept)
    check_gates(policy.gates, names, grid=grid, budgets=RADII)
    if settings.executor == "processes":
        warm_up()

    from protocols.engine.prepare import data_of
    from protocols.engine.workspace import start_torch, workspace
    from protocols.evaluation.overrides import check_overrides
    from protocols.run import Runner, data_block
    from vfc.factory import resolve

    spec = resolve(settings.release)
    check_extras(settings.protocols)
    check_overrides(settings, names)
    device = start_torch(settings)
    settings, dataset, parts = data_of(replace(settings, protocols=names), spec)
    data = data_block(dataset, parts)
    private = (settings.attributes or dataset.attributes) if "attribute" in names else ()
    asked = policy.with_preset(private, data.floor).gates
    check_gates(asked, names, grid=grid, floor=data.floor, task=parts.task, attributes=dataset.attributes)
    out = settings.out_folder("-".join(names))
    with workspace(settings, out, settings.identity(), device) as place:
        runner = Runner(place=place, partial=partial)
        facts, rows = runner.run(names, spec, dataset, parts)
        said = {"passed": jsonable(passed), "with_defaults": jsonable(asdict(settings))}
        report = runner.finish(facts, {"argv": list(argv), "settings": said}, started)
        policy = policy.with_preset(private, data.floor, report)
        report = judged(report, policy, rows, datetime.now(UTC).date())
        try:
            write(report, rows, out)
        except OSError as error:
            raise UserError(
                f"cannot write the report to {out}: {error.strerror or error}",
                "free some space and run the same command again; finished cells are kept",
            ) from error
    if not (out / REPORT).is_file():
        raise UserError(
            f"expected the report in {out}, got no such file any more", "leave the folder alone while it runs"
        )
    return Measured(report=report, rows=rows, policy=policy, out=out, reporter=place.reporter)


def judged(report: Report, policy: Policy, rows: dict[str, Any], today: date) -> Report:
    """The report with its gates and its verdict; `today` decides which waivers still count."""
    results = tuple(policy.judge(report, rows, today=today))
    word = verdict(results, report.evidence, policy.required, status=report.status)
    return sealed(report.model_copy(update={"gates": results, "verdict": word}))


def check_required(policy: Policy) -> None:
    """Refuse a policy that requires an adversary that does not exist."""
    for name in policy.required or ():
        if name not in ADVERSARIES.cards:
            raise unknown("required adversary", name, ADVERSARIES.cards)


def tell(report: Report, settings: Settings, rows: dict[str, Any]) -> None:
    """Show the report on standard output; only the verdict when quiet."""
    if settings.verbosity < 0:
        sys.stdout.write(f"{report.verdict}\n")
        return
    from rich.console import Console

    from reports.formats.terminal import render

    render(report, Console(), rows)


def protocol_names(chosen: Sequence[str]) -> tuple[str, ...]:
    """The protocols meant, in the order given, each once; `all` is every one.

    Raises:
        UserError: there is no such protocol.
    """
    names: list[str] = []
    for name in chosen or ("adaptive-probe",):
        if name == "all":
            names += list(PROTOCOLS.cards)
        elif name in PROTOCOLS.cards:
            names.append(name)
        else:
            raise unknown("protocol", name, [*PROTOCOLS.cards, "all"])
    return tuple(dict.fromkeys(names))


def check_extras(chosen: Sequence[str]) -> None:
    """Refuse a protocol that was asked for by name and lacks its extra; inside `all` it is `not_run`."""
    for name in chosen:
        if name != "all" and (install := PROTOCOLS.get(name)().missing):
            raise UserError(
                f"expected the packages that protocol {name} needs, got an installation without them", install
            )


def jsonable(data: Any) -> Any:
    """Tuples as lists and paths as text, as JSON will have them."""
    if isinstance(data, dict):
        return {str(key): jsonable(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [jsonable(value) for value in data]
    return str(data) if isinstance(data, Path) else data
