"""`vfc gate`: judge a report again. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime

from protocols.bench.rows import refuse_bench
from protocols.commands.options.config import config_keys
from protocols.commands.options.gates import split_gates
from protocols.commands.options.policy import policy_of
from protocols.commands.output import printing
from protocols.engine.settings import read_config
from reports.gate.gate import check_gates, rows_needed
from reports.gate.policy import Policy
from reports.gate.verdict import exit_code, verdict
from reports.model.catalog import example_gate
from reports.model.harmless import clean
from reports.model.report import GateResult, Report, Verdict
from reports.model.storage import load, load_rows
from reports.text.findings import missing_lines, state_words
from vfc.errors import UserError


def run_gate(
    path: str,
    texts: Sequence[str],
    *,
    preset: str | None = None,
    baseline: str | None = None,
    tolerance: float | None = None,
    config: str | None = None,
    accept: Sequence[str] = (),
    today: date | None = None,
) -> int:
    """Judge a report and return the exit code.

    Args:
        path: report.json, or the folder that holds it.
        texts: gates of the command line, which come beside those of the policy.
        preset: ready-made gates, which `texts` may name too.
        baseline: an earlier report than which no directed metric may be worse.
        tolerance: what may be lost against it; needs `baseline`.
        config: file that holds the policy; None looks into the current folder.
        accept: kinds of declared secrets that are accepted beside the policy's.
        today: decides which waivers still count; None is the present day (UTC).

    Raises:
        UserError: a report, a gate or the policy cannot be used.
    """
    if tolerance is not None and baseline is None:
        raise UserError("expected --baseline beside --tolerance, got none", "name the earlier report")
    texts, preset = split_gates(texts, preset)
    refuse_bench(path)
    report = load(path)
    read_config(config, config_keys())  # a key that nobody knows is a section that nobody reads, [polcy] say
    policy = _policy(report, policy_of(config, preset).accepting(accept), texts, baseline is not None)
    compared = _against(path, report, baseline, tolerance or 0.0, policy) if baseline is not None else []
    others = len(compared)
    rows = load_rows(path, report) if rows_needed(report, policy.gates, policy.level(others)) else None
    results = policy.judge(report, rows, today=today or datetime.now(UTC).date(), others=others)
    word = _verdict(results, report, policy, [outcome for outcome, _ in compared])
    with printing():
        for result in results:
            sys.stdout.write(f"{state_words(result):<12} {clean(result.expr)}: {clean(result.reason)}\n")
        for outcome, line in compared:
            sys.stdout.write(f"{outcome:<13}{line}\n")
        for line in missing_lines(report, policy.required, gated=bool(policy.rules)):
            sys.stdout.write(f"{line}\n")
        if policy.preset not in (None, "paper") and not any(
            gate.metric.startswith("attribute.") for gate in policy.gates
        ):
            sys.stdout.write("note: no attribute was attacked, so the preset asks nothing about any; ")
            sys.stdout.write("add --protocol attribute to the attack\n")
        budget = clean(str(report.command.settings.with_defaults.get("budget", "unknown")))
        sys.stdout.write(f"verdict: {word} (budget {budget})\n")
    return exit_code(word)


def _policy(report: Report, policy: Policy, texts: Sequence[str], compares: bool) -> Policy:
    """The policy with the gates of the command line and of the preset, checked against the report."""
    if policy.required:
        from protocols.commands.attack import check_required

        check_required(policy)
    floors = [row.arms.floor.value for row in report.evidence if row.arms.floor is not None]
    floor = floors[0] if floors else None
    attacked = dict.fromkeys(row.goal for row in report.evidence if row.protocol == "attribute")
    attributes = [name for name in report.dataset.classes if f"attribute:{name}" in attacked]
    policy = policy.adding(texts).with_preset(attributes, floor, report)
    if not policy.rules and not compares:
        policy = policy.adding([result.expr for result in report.gates])
    if not policy.rules and not compares and policy.required is None:
        raise UserError("expected a gate, got none", f"for instance --gate '{example_gate(report.metrics)}'")
    protocols = list(dict.fromkeys(row.protocol for row in report.evidence))
    check_gates(policy.gates, protocols, floor=floor, task=report.dataset.task)
    return policy


def _against(path: str, report: Report, baseline: str, tolerance: float, policy: Policy) -> list[tuple[Verdict, str]]:
    """Outcome and line of every metric that is compared with the baseline."""
    from reports.gate.baseline import against, described, directed

    old = load(baseline)
    level = policy.level(len(directed(old)))
    found = against(report, load_rows(path, report), old, load_rows(baseline, old), tolerance=tolerance, alpha=level)
    if not found:
        raise UserError(f"expected metrics with a direction in {baseline}, got none", "accept another report")
    lines: list[tuple[Verdict, str]] = [
        (one.outcome, f"{clean(one.metric)} against the baseline: {clean(one.reason)}") for one in found
    ]
    sys.stderr.write(f"baseline: {described(old, report)}\n")
    return lines


def _verdict(results: Sequence[GateResult], report: Report, policy: Policy, outcomes: Sequence[Verdict]) -> Verdict:
    word = verdict(results, report.evidence, policy.required, status=report.status)
    if not outcomes:
        return word
    found = {word, *outcomes} - {"measured"}
    return "broken" if "broken" in found else "inconclusive" if "inconclusive" in found else "held"
