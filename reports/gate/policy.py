"""The policy: which gates, how seriously, under which conditions, and what is waived until when.

Lives in `[policy]` of vfc.toml or `[tool.vfc.policy]` of pyproject.toml:

    [policy]
    preset = "standard"                   # or none
    gates = ["adaptive.leakage <= 0.5", { gate = "transfer.suppression_ratio >= 2", level = "warn" }]
    required = ["linear", "fine-tune"]    # adversaries that must have been measured
    minimum_targets = 400
    confidence = 0.95                     # one-sided, before correction for the number of gates
    accept_secrets = ["symmetric"]        # declared secrets that excuse attackers who do not match the target model

    [[policy.waivers]]
    gate = "adaptive.leakage <= 0.5"
    until = 2027-01-31                    # the last day on which it counts
    reason = "the new decoder is under way"
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from reports.gate.condition import check_accepted
from reports.gate.gate import Gate, judge
from reports.gate.presets import preset_gates
from reports.model.report import GateResult, Level, Report, Source, Waiver
from vfc.config import read_toml, tool_table
from vfc.errors import UserError, unknown

_KEYS = ("preset", "gates", "required", "minimum_targets", "confidence", "waivers", "accept_secrets")
_FORM = "see docs/ci.md for the form of a policy"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One gate of a policy.

    Args:
        gate: the limit.
        level: `error` decides the verdict, `warn` only shows.
        until: last day on which the gate is waived; None: it is not.
        why: reason of the waiver.
        source: where it was written, if in a file.
    """

    gate: Gate
    level: Level = "error"
    until: date | None = None
    why: str = ""
    source: Source | None = None


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Everything that judging needs beside the report.

    Args:
        rules: the gates.
        required: adversaries that must have been measured; None: every applicable one, where no gate was set.
        minimum_targets: with fewer target images no gate holds.
        confidence: of each one-sided bound, before correction, in (0.5, 1).
        preset: `paper`, `standard` or `strict`, whose gates `with_preset` adds.
        calibrated: whether numbers of adversaries without calibration decide nothing (preset `strict`).
        anchors: lines of gates that a config file lists as options.
        accepted: kinds of declared secrets that are accepted.
    """

    rules: tuple[Rule, ...] = ()
    required: tuple[str, ...] | None = None
    minimum_targets: int = 0
    confidence: float = 0.95
    preset: str | None = None
    calibrated: bool = False
    anchors: tuple[tuple[str, Source], ...] = ()
    accepted: tuple[str, ...] = ()

    @property
    def gates(self) -> list[Gate]:
        """The limits alone."""
        return [rule.gate for rule in self.rules]

    def level(self, others: int = 0) -> float:
        """One-sided level of each bound, corrected for the gates and `others` comparisons beside them."""
        return (1 - self.confidence) / max(1, len(self.rules) + others)

    def adding(self, texts: Sequence[str]) -> Policy:
        """With the gates of the command line; one that the policy has already is not judged twice."""
        anchors, known = dict(self.anchors), {_key(rule.gate) for rule in self.rules}
        fresh: dict[tuple[str, str, float], Rule] = {}
        for gate in map(Gate.parse, texts):
            if _key(gate) not in known:
                fresh.setdefault(_key(gate), Rule(gate=gate, source=anchors.get(gate.text)))
        return replace(self, rules=(*self.rules, *fresh.values()))

    def accepting(self, kinds: Sequence[str]) -> Policy:
        """With the secrets that the command line accepts beside its own.

        Raises:
            UserError: there is no such kind, or it excuses nothing.
        """
        return replace(self, accepted=check_accepted([*self.accepted, *kinds]))

    def with_preset(self, attributes: Sequence[str], floor: float | None, report: Report | None = None) -> Policy:
        """With the gates of its preset; a gate of the policy on the same metric wins over the preset's.

        Args:
            attributes: private attributes that are attacked.
            floor: rate of the task's floor, on which the largest possible ratio depends.
            report: what was measured; None before.
        """
        if self.preset is None:
            return self
        own = {(rule.gate.metric, rule.gate.upward) for rule in self.rules}
        pictures = report is None or _pictures(report)
        gates = [Gate.parse(text) for text in preset_gates(self.preset, attributes, floor, pictures=pictures)]
        added = tuple(Rule(gate=gate) for gate in gates if (gate.metric, gate.upward) not in own)
        return replace(self, rules=(*self.rules, *added), calibrated=self.calibrated or self.preset == "strict")

    def judge(
        self, report: Report, rows: Mapping[str, Any] | None = None, *, today: date, others: int = 0
    ) -> list[GateResult]:
        """Judge every gate under the policy. Pure.

        Args:
            report: what was measured.
            rows: the sidecar's arrays, where they are needed.
            today: decides which waivers still count.
            others: comparisons that share the level with the gates.
        """
        found = judge(report, self.gates, rows, self.level(others), self.accepted)
        return [self._under(rule, result, report, today) for rule, result in zip(self.rules, found, strict=True)]

    def _under(self, rule: Rule, result: GateResult, report: Report, today: date) -> GateResult:
        """One result with what the policy says about it."""
        changes: dict[str, Any] = {"level": rule.level, "source": rule.source}
        if rule.until is not None:
            changes["waiver"] = Waiver(until=rule.until.isoformat(), reason=rule.why, active=today <= rule.until)
        doubt = self._doubt(report)
        if result.outcome == "held" and doubt:
            changes |= {"outcome": "inconclusive", "reason": f"{result.reason}, but {doubt}"}
        return result.model_copy(update=changes)

    def _doubt(self, report: Report) -> str:
        """Why no gate may hold; empty if one may."""
        part = report.dataset.parts.get("targets")
        size = part.size if part is not None else report.target.accuracy.n
        if size < self.minimum_targets:
            return f"there are {size} target images and the policy asks for {self.minimum_targets}"
        if self.calibrated:
            names = sorted({row.adversary for row in report.evidence if row.chosen and row.status == "measured"})
            states = {name: report.calibration.get(name) for name in names}
            missing = [name for name, state in states.items() if state is None or state.status == "uncalibrated"]
            if missing or not names:
                names_missing = ", ".join(missing) or "no chosen one"
                return f"the policy asks for calibrated adversaries, got no calibration of {names_missing}"
        return ""


def _pictures(report: Report) -> bool:
    """Whether the release may be a picture: frozen models read it, did not try, or it is one in whole numbers."""
    tried = [row.status for row in report.evidence if row.adversary == "frozen"]
    other = bool(tried) and all(status == "not_applicable" for status in tried)
    return not other or (len(report.release.shape) == 3 and not report.release.dtype.startswith(("float", "bfloat")))


def read_policy(path: str | None = None, preset: str | None = None) -> Policy:
    """The policy of a config file; an empty one without a file or without such a table.

    Args:
        path: the file that the user named; None looks into the current folder.
        preset: overrides the file's.

    Raises:
        UserError: unreadable, no TOML, or a policy that says something meaningless.
    """
    if path == "":
        raise UserError("expected a config file, got an empty name", "leave --config out, or name a file")
    for file in [Path(path)] if path else [Path("vfc.toml"), Path("pyproject.toml")]:
        if not path and not file.is_file():
            continue
        text, table = read_toml(file)
        data = tool_table(table, file) if file.name == "pyproject.toml" else table
        if data is None:
            continue
        policy = parse_policy(data.get("policy", {}), text, _named(file))
        listed = data.get("gate", [])
        anchors = _anchors(listed if isinstance(listed, list) else [listed], text, _named(file))
        return replace(policy, anchors=anchors, preset=preset or policy.preset)
    return Policy(preset=preset)


def parse_policy(table: Any, text: str = "", file: str = "vfc.toml") -> Policy:
    """A policy from a table of TOML.

    Args:
        table: the content of `[policy]`.
        text: the file that it stands in, to find the lines of gates.
        file: its name for messages and for `Source`.

    Raises:
        UserError: unknown keys, wrong types, waivers without a day, a reason or a gate.
    """
    if not isinstance(table, Mapping):
        raise UserError(f"expected a table [policy] in {file}, got {table!r}", _FORM)
    for key in table:
        if key not in _KEYS:
            raise unknown(f"key in [policy] of {file}", key, _KEYS)
    rules = [_rule(item, file) for item in _list(table.get("gates", []), "gates", file)]
    lines = dict(_anchors([rule.gate.text for rule in rules], text, file))
    raw = [item["gate"] if isinstance(item, Mapping) else item for item in table.get("gates", [])]
    lines |= {rule.gate.text: src for rule, (_, src) in zip(rules, _anchors(raw, text, file), strict=True)}
    rules = [replace(rule, source=lines.get(rule.gate.text)) for rule in rules]
    keys = [_key(rule.gate) for rule in rules]
    for item in _list(table.get("waivers", []), "waivers", file):
        gate, until, why = _waiver(item, file)
        if _key(gate) not in keys:
            raise UserError(f"expected a waiver of a gate of [policy] in {file}, got {gate.text!r}", "list that gate")
        place = keys.index(_key(gate))
        rules[place] = replace(rules[place], until=until, why=why)
    required = table.get("required")
    if required is not None and not all(isinstance(name, str) for name in _list(required, "required", file)):
        raise UserError(f"expected names of adversaries in required of {file}, got {required!r}", _FORM)
    targets, confidence = table.get("minimum_targets", 0), table.get("confidence", 0.95)
    if not isinstance(targets, int) or isinstance(targets, bool) or targets < 0:
        raise UserError(f"expected a count as minimum_targets of {file}, got {targets!r}", "for instance 400")
    if not isinstance(confidence, float) or not 0.5 < confidence < 1:
        raise UserError(f"expected a confidence in (0.5, 1) in {file}, got {confidence!r}", "for instance 0.95")
    accepted = _list(table.get("accept_secrets", []), "accept_secrets", file)
    preset = table.get("preset")
    if preset is not None:
        preset_gates(str(preset), (), None)
    return Policy(
        rules=tuple(rules),
        required=tuple(required) if required is not None else None,
        minimum_targets=targets,
        confidence=confidence,
        preset=preset,
        accepted=check_accepted(map(str, accepted)),
    )


def _rule(item: Any, file: str) -> Rule:
    if isinstance(item, str):
        return Rule(gate=Gate.parse(item))
    if not isinstance(item, Mapping) or not isinstance(item.get("gate"), str):
        raise UserError(f"expected a gate as text or as {{ gate, level }} in {file}, got {item!r}", _FORM)
    for key in item:
        if key not in ("gate", "level"):
            raise unknown(f"key of a gate in {file}", key, ("gate", "level"))
    level = item.get("level", "error")
    if level not in ("error", "warn"):
        raise UserError(f"expected the level error or warn in {file}, got {level!r}", _FORM)
    return Rule(gate=Gate.parse(item["gate"]), level=level)


def _waiver(item: Any, file: str) -> tuple[Gate, date, str]:
    form = 'write gate, until = 2027-01-31 and reason = "..."'
    if not isinstance(item, Mapping) or set(item) != {"gate", "until", "reason"}:
        raise UserError(f"expected waivers with gate, until and reason in {file}, got {item!r}", form)
    gate, until, why = item["gate"], item["until"], item["reason"]
    if isinstance(until, str):
        try:
            until = date.fromisoformat(until)
        except ValueError:
            raise UserError(f"expected a day in until of a waiver in {file}, got {until!r}", form) from None
    if type(until) is not date:
        raise UserError(f"expected a day in until of a waiver in {file}, got {until!r}", form)
    if not isinstance(why, str) or not why.strip() or not isinstance(gate, str):
        raise UserError(f"expected a reason and a gate in a waiver in {file}, got {why!r} and {gate!r}", form)
    return Gate.parse(gate), until, why.strip()


def _list(data: Any, key: str, file: str) -> list[Any]:
    if not isinstance(data, list):
        raise UserError(f"expected a list as {key} of [policy] in {file}, got {data!r}", _FORM)
    return data


def _anchors(texts: Sequence[Any], content: str, file: str) -> tuple[tuple[str, Source], ...]:
    """The line of each text: the first one that holds it behind the one before, else the first of all."""
    lines, after, found = content.splitlines(), 0, []
    for text in map(str, texts):
        places = [number for number, line in enumerate(lines, 1) if text in line]
        line = next((place for place in places if place >= after), places[0] if places else 1)
        after = line
        found.append((text, Source(file=file, line=line)))
    return tuple(found)


def _key(gate: Gate) -> tuple[str, str, float]:
    return gate.metric, gate.operator, gate.number


def _named(file: Path) -> str:
    """A file as reports name it: relative to the working folder, never a path of this machine or out of the folder."""
    whole, here = Path(os.path.abspath(file)), Path.cwd()
    return whole.relative_to(here).as_posix() if whole.is_relative_to(here) else file.name
