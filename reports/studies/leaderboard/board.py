"""Entries checked against their own files, and what becomes of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.gate.gate import Gate, judge
from reports.model.report import GateResult, Report
from reports.model.storage import load, load_rows
from reports.studies.leaderboard.entry import Entry, Status, entry_files, read_entry
from reports.studies.suite.grading import Grade, load_grade
from vfc.errors import UserError

ORDER: tuple[Status, ...] = ("reproduced", "externally attacked", "claimed", "unreliable", "withdrawn")
"""In which order entries are shown."""

_KEEP = "write what the report says, or measure again"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry with what its files show.

    Args:
        entry: as its author wrote it.
        status: what its files make of it.
        report: what was measured; None if nothing was.
        claims: the claimed limits, judged against the report.
        grades: attacks by others, the strongest against ours first.
        why: why it has this status, in a sentence.
    """

    entry: Entry
    status: Status
    report: Report | None
    claims: tuple[GateResult, ...]
    grades: tuple[Grade, ...]
    why: str

    @property
    def name(self) -> str:
        """How the page calls it."""
        return self.entry.name or self.entry.id

    @property
    def attacks(self) -> tuple[Grade, ...]:
        """The grades that count: what has seen what it must not is no attack."""
        return _attacks(self.grades)


def read_board(folder: Path, accepted: Collection[str] = ()) -> list[Line]:
    """All entries of a folder, checked and in the order in which they are shown.

    Args:
        folder: holds the entries.
        accepted: kinds of declared secrets that the board's owner accepts; a defender's word alone accepts none.

    Raises:
        UserError: an entry cannot be used, says what its files do not, or has the same id as another.
    """
    entries: dict[str, tuple[Entry, Path]] = {}
    for file in entry_files(folder):
        entry = read_entry(file)
        if entry.id in entries:
            raise UserError(f"expected different ids in {folder}, got {entry.id!r} twice", "rename one")
        entries[entry.id] = entry, file
    grades = [grade for entry, file in entries.values() for grade in _grades(entry, file)]
    lines = [checked(entry, file, grades, accepted) for entry, file in entries.values()]
    return sorted(lines, key=lambda line: (ORDER.index(line.status), line.entry.id))


def checked(entry: Entry, file: Path, grades: Sequence[Grade], accepted: Collection[str] = ()) -> Line:
    """An entry with its files.

    Args:
        entry: as its author wrote it.
        file: where, for its files lie beside it.
        grades: of all entries; those beside this one's report are about it, whoever's entry names them.
        accepted: kinds of declared secrets that the board's owner accepts.

    Raises:
        UserError: it says what its report or a grade does not.
    """
    report = _report(entry, file)
    gates = [Gate.parse(text) for text in entry.claim.gates]
    claims: Sequence[GateResult] = ()
    if report is not None and gates and entry.measured is not None:
        rows = load_rows(file.parent / entry.measured.report, report)
        claims = judge(report, gates, rows, accepted=accepted)
    own = {each.digest: each for each in [*_grades(entry, file), *_beside(entry, grades)]}
    about = sorted(own.values(), key=lambda each: -((each.lead.value if each.lead else None) or 0.0))
    status, why = status_of(entry, report, claims, about)
    if entry.status not in (None, status):
        raise UserError(f"expected the status {status!r} in {file}, got {entry.status!r}: {why}", "leave status out")
    return Line(entry=entry, status=status, report=report, claims=tuple(claims), grades=tuple(about), why=why)


def status_of(
    entry: Entry, report: Report | None, claims: Sequence[GateResult], grades: Sequence[Grade]
) -> tuple[Status, str]:
    """What its files make of an entry, and why.

    A claim that the report does not confirm never stands above "claimed", whoever has attacked the defense.
    """
    if entry.status == "withdrawn":
        return "withdrawn", "its authors have withdrawn it"
    worst = sorted(claims, key=lambda each: each.outcome != "broken")
    failed = next((_doubted(each) for each in worst if each.outcome != "held"), "")
    attacks = _attacks(grades)
    ahead = next((each for each in attacks if each.ahead and each.shuffled is not None), None)
    if ahead is not None:
        by = ahead.by or "somebody else"
        why = f"an attack by {by} is clearly ahead of ours, so our numbers are too low to rely on"
        return "unreliable", f"{why}; {failed}" if failed else why
    if report is None:
        return "claimed", "nothing was measured here"
    if failed:
        return "claimed", failed
    conditions = dict.fromkeys(result.condition for result in claims if result.condition)
    held = ", ".join(["the report confirms every claimed limit", *conditions]) if claims else ""
    if attacks:
        return "externally attacked", "; ".join([_attacked(attacks), *([held] if held else [])])
    if not claims:
        return "claimed", "it claims no limit that a report could confirm"
    return "reproduced", held


def _attacks(grades: Sequence[Grade]) -> tuple[Grade, ...]:
    return tuple(each for each in grades if each.standing != "void")


def _doubted(claim: GateResult) -> str:
    """A claimed limit that the report does not confirm, with the report's reason."""
    return f"the report says {claim.outcome} of {claim.expr}: {claim.reason}".rstrip(": ")


def _attacked(attacks: Sequence[Grade]) -> str:
    """How many attacks there were, what became of them, and for how many nobody vouches."""
    how = "those ahead of ours not controlled" if any(each.ahead for each in attacks) else "none clearly ahead of ours"
    alone = sum(each.standing == "unvouched" for each in attacks)
    doubt = f", nobody vouches for {alone} of them" if alone else ""
    return f"attacks by others that were graded: {len(attacks)}, {how}{doubt}"


def _report(entry: Entry, file: Path) -> Report | None:
    """The report of an entry, and that the entry says no more than it."""
    if entry.measured is None:
        return None
    report = load(file.parent / entry.measured.report)
    if report.digest != entry.measured.digest:
        raise UserError(f"expected report {entry.measured.digest[:12]} as {file} says, got {report.digest[:12]}", _KEEP)
    if report.release.name != entry.defense:
        raise UserError(f"expected a report on {entry.defense} as {file} says, got {report.release.name}", _KEEP)
    if report.release.secret != entry.secret:
        raise UserError(
            f"expected the secret that the report declares ({report.release.secret.kind}) in {file}, got "
            f"{entry.secret.kind}, or another text",
            _KEEP,
        )
    _same_claim(entry, report, file)
    for name, said in entry.measured.numbers.items():
        value = report.metrics.get(name)
        if value is None or value.value is None:
            raise UserError(f"expected a number that the report has in {file}, got {name} = {said:g}", _KEEP)
        if not _same(said, value.value):
            raise UserError(f"expected {name} = {value.value:.6g} as the report says in {file}, got {said:g}", _KEEP)
    return report


def _same_claim(entry: Entry, report: Report, file: Path) -> None:
    """Refuse limits that are about other data, or another setting of the defense, than the report."""
    claim = entry.claim
    if claim.gates and not claim.dataset:
        raise UserError(f"expected the data set that the claim in {file} is about, got none", "name it: claim.dataset")
    said = {"dataset": claim.dataset, "task": claim.task, **claim.settings}
    found = {**report.release.settings, "dataset": report.dataset.name, "task": report.dataset.task}
    for name, value in said.items():
        if value != "" and found.get(name) != value:
            got = found.get(name, "none")
            raise UserError(f"expected a report with {name} {value} as {file} claims, got {got}", _KEEP)


def _same(said: float, measured: float) -> bool:
    """Whether a number is the measured one, rounded to as many decimals as it was given with, at least three."""
    text = repr(float(said))
    decimals = max(3, len(text.partition(".")[2])) if "e" not in text else 12
    return round(measured, decimals) == round(said, decimals)


def _beside(entry: Entry, grades: Sequence[Grade]) -> list[Grade]:
    """Those that are about an entry's report."""
    report = entry.measured.digest if entry.measured is not None else None
    return [each for each in grades if each.report == report and each.defense == entry.defense]


def _grades(entry: Entry, file: Path) -> list[Grade]:
    found = []
    for each in entry.external:
        made = load_grade(file.parent / each.grade)
        if made.digest != each.digest:
            raise UserError(f"expected grade {each.digest[:12]} as {file} says, got {made.digest[:12]}", _KEEP)
        if made.defense != entry.defense:
            raise UserError(f"expected a grade on {entry.defense} in {file}, got one on {made.defense}", _KEEP)
        if entry.measured is not None and made.report != entry.measured.digest:
            raise UserError(
                f"expected a grade beside report {entry.measured.digest[:12]} in {file}, got one beside "
                f"{made.report[:12]}",
                "measure and attack the same suite",
            )
        found.append(made)
    return found
