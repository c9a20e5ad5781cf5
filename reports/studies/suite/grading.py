"""Grading somebody else's guesses as our own attacks are graded: floor, controls, interval. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from adversaries.evidence import Evidence, Record, Value
from adversaries.health import HONESTY, LEVEL
from adversaries.statistics import estimates
from reports.model.files import json_bytes, json_digest
from reports.model.report import Report
from reports.studies.suite.guesses import Expected, Guesses, read_guesses
from reports.studies.suite.manifest import ANSWERS, ATTACK, DEFENSES, TRUTH, Suite
from vfc.errors import UserError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

Standing = Literal["vouched", "unvouched", "void"]
Aim = Literal["task", "attribute"]


class OurAttack(Record):
    """Our own strongest attack under the same threat model, chosen on the attacker's validation part."""

    adversary: str
    level: str
    labels: int | Literal["all"] | None = None
    accuracy: Value
    flags: tuple[str, ...] = ()


class Grade(Record):
    """What became of somebody's guesses.

    `standing`: vouched if the controls ran and speak for the attack; unvouched if one is missing or the ceiling is not
    above the floor, so that its silence says nothing; void if it beats chance on permuted labels. `lead` is how much
    more often it is right than ours on the same targets, `ahead` whether clearly so, `above_floor` whether it is
    clearly above the floor.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    digest: str = ""
    suite: str
    suite_digest: str
    defense: str
    report: str
    goal: str
    level: str
    labels: int | Literal["all"] | None
    by: str = ""
    guesses: str
    attack: Value
    floor: Value
    ceiling: Value | None = None
    shuffled: Value | None = None
    above_floor: bool
    standing: Standing
    doubts: tuple[str, ...] = ()
    ours: OurAttack | None = None
    lead: Value | None = None
    ahead: bool = False

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was attacked, as its author says.

    Args:
        defense: name in the suite.
        aim: the task label, or an attribute.
        attribute: which one; empty for the only one.
        level: threat level: what the attacker used.
        labels: labelled releases per class that it used; None below L2.
    """

    defense: str
    aim: Aim = "task"
    attribute: str = ""
    level: str = "L2"
    labels: int | Literal["all"] | None = None


def grade(suite: Suite, path: Path, question: Question) -> Grade:
    """Grade a file of guesses.

    Args:
        suite: what they are about.
        path: the file; see `read_guesses`.
        question: what was attacked, and with what.

    Raises:
        UserError: the guesses or the suite cannot be used, or there is no such defense or label.
    """
    frozen, label = suite.defense(question.defense), label_of(suite, question)
    folder = f"{DEFENSES}/{frozen.folder}"
    expected = Expected(
        suite=suite.manifest.name,
        suite_digest=suite.manifest.digest,
        targets_digest=frozen.targets,
        index=suite.arrays(f"{folder}/{ATTACK}")["targets.index"],
        classes=suite.manifest.dataset.classes[label],
    )
    guesses = read_guesses(path, expected)
    truth, own = suite.arrays(TRUTH), suite.arrays(f"{ANSWERS}/{frozen.folder}.safetensors")
    counted, floor = own[f"{label}.graded"], own[f"{label}.floor"].astype(bool)
    hits = (guesses.attack == truth[label])[counted]
    controls = _controls(guesses, truth, label, counted, own[f"{label}.shuffled.graded"])
    doubts, leaks = [*_missing(guesses), *_blind(controls, floor)], _leaks(controls)
    report, rows = suite.report(question.defense)
    goal = f"{question.aim}:{label}"
    best = ours(report, goal, question)
    theirs = None if best is None else _rows_of(best, rows, len(hits))
    made = Grade(
        suite=suite.manifest.name,
        suite_digest=suite.manifest.digest,
        defense=question.defense,
        report=report.digest,
        goal=goal,
        level=question.level,
        labels=question.labels,
        by=guesses.by,
        guesses=guesses.digest,
        attack=_rate(hits),
        floor=_rate(floor),
        ceiling=_rate(controls["ceiling"][0]) if "ceiling" in controls else None,
        shuffled=_rate(controls["shuffled"][0]) if "shuffled" in controls else None,
        above_floor=_better(hits, floor),
        standing="void" if leaks else "unvouched" if doubts else "vouched",
        doubts=(*doubts, *leaks),
        ours=None if best is None else _told(best),
        lead=None if theirs is None else estimates.difference(hits, theirs),
        ahead=theirs is not None and _better(hits, theirs),
    )
    return made.model_copy(update={"digest": digest_of(made)})


def label_of(suite: Suite, question: Question) -> str:
    """The label that is attacked.

    Raises:
        UserError: there is no such attribute, none was named of several, or one was named for the task.
    """
    data = suite.manifest.dataset
    if question.aim == "task":
        if question.attribute:
            raise UserError("expected no --attribute beside the goal task, got one", "add --goal attribute")
        return data.task
    private = [name for name in data.classes if name != data.task]
    if question.attribute:
        if question.attribute not in private:
            raise unknown(f"attribute of {suite.manifest.name}", question.attribute, private)
        return question.attribute
    if len(private) != 1:
        raise UserError(f"expected one of the attributes {', '.join(private) or 'none'}, got none", "name --attribute")
    return private[0]


def ours(report: Report, goal: str, question: Question) -> Evidence | None:
    """Our strongest honest attack that knew no less, chosen on the attacker's validation part alone.

    Where none of ours had just as many labels, those with the next more compete: who is ahead of them is ahead.
    """
    highest = parse(question.level)
    found = [
        row for row in report.evidence
        if row.goal == goal and row.status == "measured" and row.arms.attack is not None and row.threat.level <= highest
        and not set(row.health) & set(HONESTY)
    ]  # fmt: skip
    asked = _count(question.labels)
    granted = min((k for row in found if (k := _labels(row)) >= max(1, asked)), default=None)
    if asked and granted is None:
        return None  # nobody of ours was granted so many labels
    competing = [row for row in found if _labels(row) in ((0, granted) if asked else (0,))]
    seeds = sorted({row.seed for row in competing})
    return max((row for row in competing if row.seed == seeds[0]), key=_on_validation, default=None)


def _labels(row: Evidence) -> float:
    return _count(row.threat.budget.labels_per_class)


def _count(labels: int | Literal["all"] | None) -> float:
    """Labels per class; 0 for none, infinity for all."""
    return math.inf if labels == "all" else labels or 0


def parse(level: str) -> str:
    """A level that an outsider may have.

    Raises:
        UserError: there is no such level, or it grants the target model itself.
    """
    known = ("L0", "L1", "L2", "L3", "L4")
    if level not in known:
        raise unknown("threat level of guesses", level, known)
    return level


def _on_validation(row: Evidence) -> float:
    value = row.metrics.get("validation")
    return -1.0 if value is None or value.value is None else value.value


def _told(row: Evidence) -> OurAttack:
    if row.arms.attack is None:  # `ours` has looked
        raise ValueError("expected a measured attack")
    words = " ".join([row.adversary, *(value for value in row.settings.values() if isinstance(value, str))])
    return OurAttack(
        adversary=words,
        level=row.threat.level,
        labels=row.threat.budget.labels_per_class,
        accuracy=row.arms.attack,
        flags=row.health,
    )


def _rows_of(row: Evidence, rows: Mapping[str, Any], n: int) -> NDArray[Any] | None:
    """Right or wrong of our attack on the same targets; None where the report does not keep it."""
    value = row.arms.attack
    found = None if value is None or value.rows is None else rows.get(value.rows)
    return None if found is None or len(found) != n else found.astype(bool)


def _controls(
    guesses: Guesses, truth: Mapping[str, Any], label: str, counted: NDArray[Any], shuffled: NDArray[Any]
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Hits of the controls that were given, and the labels that they were graded by."""
    found = {}
    if guesses.ceiling is not None:
        found["ceiling"] = ((guesses.ceiling == truth[label])[counted], truth[label][counted])
    if guesses.shuffled is not None:
        permuted = truth[f"{label}.shuffled"]
        found["shuffled"] = ((guesses.shuffled == permuted)[shuffled], permuted[shuffled])
    return found


def _missing(guesses: Guesses) -> list[str]:
    """What the guesses do not show."""
    said = []
    if guesses.ceiling is None:
        said.append(
            "no ceiling: nobody knows whether this method finds the label on the images, so a miss says nothing"
        )
    if guesses.shuffled is None:
        said.append("no shuffled control: nobody knows whether this method saw what it must not, so a hit is a claim")
    return said


def _blind(controls: Mapping[str, tuple[NDArray[Any], NDArray[Any]]], floor: NDArray[Any]) -> list[str]:
    """That a method misses the label on the images too: a flag of power, which makes its silence mean nothing."""
    if "ceiling" not in controls or _better(controls["ceiling"][0], floor):
        return []
    return ["the ceiling is not above the floor: this method finds nothing even on the images, so a miss says nothing"]


def _leaks(controls: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> list[str]:
    """That a method finds labels that are not there: a flag of honesty, at the same level as ours."""
    import numpy as np

    if "shuffled" not in controls:
        return []
    hits, permuted = controls["shuffled"]
    chance = float(np.bincount(permuted).max() / len(permuted))
    if estimates.binomial_upper_tail(int(hits.sum()), len(hits), chance) >= LEVEL:
        return []
    return ["it beats chance on permuted labels, so it sees what it must not"]


def _better(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Whether the first is clearly more often right on the same targets: McNemar's exact test at the level of flags."""
    counts = estimates.paired_counts(first, second)
    return estimates.mcnemar(counts["n10"], counts["n01"]) < LEVEL


def _rate(hits: NDArray[Any]) -> Value:
    return estimates.rate(int(hits.sum()), len(hits))


def digest_of(made: Grade) -> str:
    """SHA-256 of everything in it but the digest itself."""
    content = made.model_dump(mode="json", by_alias=True)
    del content["digest"]
    return json_digest(content)


def dump(made: Grade) -> bytes:
    """The grade as JSON, as it lies on disk."""
    return json_bytes(made.model_dump(mode="json", by_alias=True))


def load_grade(file: Path) -> Grade:
    """Read a grade, and check that it is as it was written.

    Raises:
        UserError: it is missing, no grade, or changed by hand.
    """
    check: Callable[[str], UserError] = lambda found: UserError(  # noqa: E731
        f"expected a grade of vfc in {file}, got {found}", "grade the guesses again with vfc grade"
    )
    try:
        found = Grade.model_validate_json(file.read_bytes())
    except OSError as error:
        raise check(error.strerror or str(error)) from None
    except ValidationError as error:
        raise check(error.errors(include_url=False)[0]["msg"]) from None
    if digest_of(found) != found.digest:
        raise check("other content: changed by hand")
    return found
